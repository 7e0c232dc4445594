/** What QEMU says of the file `filename`, which is written to and is raw only by a guess. */
export function warningOfGuess(filename: string): string {
  return `WARNING: Image format was not specified for '${filename}' and probing guessed raw.
         Automatically detecting the format is dangerous for raw images, write operations on block 0 will be restricted.
         Specify the 'raw' format explicitly to remove the restrictions.`
}
