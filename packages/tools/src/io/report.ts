/** How results are told: amounts, rates and dumps, as scripts that read them know them. */

const units = [
  [2 ** 60, ' EiB'],
  [2 ** 50, ' PiB'],
  [2 ** 40, ' TiB'],
  [2 ** 30, ' GiB'],
  [2 ** 20, ' MiB'],
  [2 ** 10, ' KiB'],
] as const

/** `65536` as `64 KiB`, `1000` as `1000 bytes`, `1025` as `1.001 KiB`. */
export function amount(bytes: number): string {
  for (const [size, name] of units) if (bytes >= size) return `${untrailed(bytes / size, 3)}${name}`
  return `${untrailed(bytes, 6)} bytes`
}

/** The number with `digits` decimals, cut where three zeroes follow the point. */
function untrailed(value: number, digits: number): string {
  const text = fixed(value, digits)
  const zeroes = text.indexOf('.000')
  return zeroes < 0 ? text : text.slice(0, zeroes)
}

/** As C prints it: of two neighbours that are equally near, the even one. */
function fixed(value: number, digits: number): string {
  const scaled = value * 10 ** digits
  const below = Math.floor(scaled)
  const tie = scaled - below === 0.5 && below % 2 === 0
  return tie ? (below / 10 ** digits).toFixed(digits) : value.toFixed(digits)
}

/** What a finished request did. */
interface Outcome {
  readonly verb: string
  readonly offset: number
  /** Bytes that were asked for. */
  readonly length: number
  /** Bytes that were moved. */
  readonly total: number
  readonly seconds: number
}

/** The lines behind a request: two for people, one with `-C` for programs. */
export function report({ verb, offset, length, total, seconds }: Outcome, terse: boolean): string {
  const rate = seconds > 0 ? total / seconds : 0
  const requests = seconds > 0 ? 1 / seconds : 0
  if (terse) return `${total},1,${longTime(seconds)},${rate.toFixed(3)},${requests.toFixed(3)}\n`
  const time = seconds >= 60 ? longTime(seconds) : shortTime(seconds)
  return (
    `${verb} ${total}/${length} bytes at offset ${offset}\n` +
    `${amount(total)}, 1 ops; ${time} (${amount(rate)}/sec and ${requests.toFixed(4)} ops/sec)\n`
  )
}

function shortTime(seconds: number): string {
  return `${hundredths(seconds)} sec`
}

function longTime(seconds: number): string {
  const minutes = Math.floor(seconds / 60)
  const clock = `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, '0')}`
  return `${clock}:${hundredths(seconds - minutes * 60)}`
}

function hundredths(seconds: number): string {
  const [whole = '0', fraction = ''] = (Math.floor(seconds * 100) / 100).toFixed(2).split('.')
  return `${whole.padStart(2, '0')}.${fraction}`
}

/** A dump of `buf` as it stands at `offset`: sixteen bytes a line, in hexadecimal and as letters and digits. */
export function hexDump(offset: number, buf: Uint8Array): string {
  const lines: string[] = []
  for (let at = 0; at < buf.length; at += 16) {
    const row = buf.subarray(at, at + 16)
    const hex = Array.from(row, (byte) => ` ${byte.toString(16).padStart(2, '0')}`).join('')
    const text = Array.from(row, letterOrDot).join('')
    lines.push(`${(offset + at).toString(16).padStart(8, '0')}: ${hex}  ${text}\n`)
  }
  return lines.join('')
}

function letterOrDot(byte: number): string {
  const letter = String.fromCharCode(byte)
  return /[0-9A-Za-z]/.test(letter) ? letter : '.'
}
