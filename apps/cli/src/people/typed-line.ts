/** Words as a line that can be typed in a shell. */
export function typedLine(words: readonly string[]): string {
  return words.map((word) => (/^[\w./=+:,@%-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(' ')
}
