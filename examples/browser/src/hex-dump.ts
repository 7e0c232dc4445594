/** Lines of sixteen bytes: their offset, their values, and the letters among them. */
export function hexDump(bytes: Uint8Array, offset: number): string {
  const lines: string[] = []
  for (let at = 0; at < bytes.length; at += 16) {
    const line = [...bytes.subarray(at, at + 16)]
    const values = line.map((byte) => byte.toString(16).padStart(2, '0')).join(' ')
    const letters = line.map((byte) => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : '.')).join('')
    lines.push(`${(offset + at).toString(16).padStart(10, '0')}  ${values.padEnd(47)}  ${letters}`)
  }
  return lines.join('\n')
}
