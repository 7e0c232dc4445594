/** An integer in C's spellings: decimal, `0x` hexadecimal, octal with a leading `0`; undefined if `word` is none. */
export function parseInteger(word: string): number | undefined {
  const match = /^\s*([+-]?)(?:0x([0-9a-f]+)|(0[0-7]*)|([1-9]\d*))$/i.exec(word)
  if (match === null) return undefined
  const [, sign, hex, octal, decimal] = match
  const value =
    hex !== undefined ? Number.parseInt(hex, 16) : octal !== undefined ? Number.parseInt(octal, 8) : Number(decimal)
  return sign === '-' ? -value : value
}
