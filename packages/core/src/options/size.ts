/** Sizes as people write them. */

const suffixes: Readonly<Record<string, number>> = {
  b: 1,
  k: 2 ** 10,
  m: 2 ** 20,
  g: 2 ** 30,
  t: 2 ** 40,
  p: 2 ** 50,
  e: 2 ** 60,
}

/**
 * Bytes of a text such as `512`, `64k`, `1.5G`, `0x200`: an optional fraction and one suffix of b k M G T P E
 * (powers of 1024). Undefined if it is not a size; infinity never.
 */
export function parseSize(text: string): number | undefined {
  const match = /^(0x[0-9a-f]+|(\d+)(\.\d*)?)([bkmgtpe]?)$/i.exec(text.trim())
  if (match === null) return undefined
  const hex = (match[1] as string).toLowerCase().startsWith('0x')
  const suffix = (match[4] as string).toLowerCase()
  if (hex && suffix !== '') return undefined
  if (match[3] !== undefined && (suffix === '' || suffix === 'b')) return undefined
  const size = Number(match[1]) * (suffixes[suffix] ?? 1)
  return size < 2 ** 64 ? Math.floor(size) : undefined
}
