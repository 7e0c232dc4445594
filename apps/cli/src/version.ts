/** The version of this package; tsup puts in the one of package.json. */
export const version: string = process.env.DISKGRAPH_VERSION ?? '0.0.0'

/** The version of QEMU's tools whose command lines and output these follow. */
export const compatibleVersion = '7.2.0'

/** What the drop-in tool called `program` prints for `--version`. */
export function versionLine(program: string): string {
  return `${program} version ${compatibleVersion} (diskgraph ${version})\n`
}
