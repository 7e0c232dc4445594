/**
 * Names of directories: `fat:` words with colons behind each, and the directory, in any order but the last: `rw`, `floppy`,
 * `12`, `16`, `32`, and `label` with the label behind it. What else stands there is passed over, as QEMU does.
 */

/** The options that a name stands for. */
export function parseFilename(filename: string): Record<string, unknown> {
  const words = filename.split(':').slice(1)
  let dir = words.pop() ?? ''
  // One letter before a path is a drive of Windows.
  if (/^[A-Za-z]$/.test(words.at(-1) ?? '')) dir = `${words.pop()}:${dir}`
  const options = { dir, floppy: words.includes('floppy') }
  const fatType = words.find((word) => word === '12' || word === '16' || word === '32')
  const label = words[words.indexOf('label') + 1]
  return {
    ...options,
    ...(words.includes('rw') ? { rw: true } : {}),
    ...(fatType === undefined ? {} : { fatType: Number(fatType) }),
    ...(words.includes('label') && label !== undefined ? { label } : {}),
  }
}
