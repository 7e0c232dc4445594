/** Sizes as QEMU's tools print and read them. */
import { parseSize } from '@diskgraph/core/driver'
import { CommandError } from './messages.ts'
import type { Terminal } from './terminal.ts'

const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB']

/** `67108864` as `64 MiB`: three significant digits, and the next unit from 1000 on. */
export function humanSize(bytes: number): string {
  let unit = 0
  while (unit < units.length - 1 && bytes >= 1000 * 1024 ** unit) unit++
  return `${generalNumber(bytes / 1024 ** unit)} ${units[unit]}`
}

/** As C prints a number with `%.3g`: three significant digits, ties to even. */
export function generalNumber(value: number): string {
  if (value === 0) return '0'
  const power = Number(value.toExponential(2).split('e')[1])
  const digits = roundToEven(value * 10 ** (2 - power))
  if (power >= 3 || power < -4) {
    const mantissa = String(digits / 100)
    return `${mantissa}e${power < 0 ? '-' : '+'}${String(Math.abs(power)).padStart(2, '0')}`
  }
  return String(Number((digits / 10 ** (2 - power)).toPrecision(3)))
}

/** As C prints a number with `%.2f`: two digits behind the point, ties to even. */
export function twoDecimals(value: number): string {
  return (roundToEven(value * 100) / 100).toFixed(2)
}

function roundToEven(value: number): number {
  const below = Math.floor(value)
  const rest = value - below
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below
}

/** Why a text is not a size: it is no number, or out of range. */
type SizeFault = 'malformed' | 'range'

/** A size from a command line, with a suffix; the fault is returned, as programs word it differently. */
export function readSize(text: string): number | SizeFault {
  const size = /\s$/.test(text) ? undefined : parseSize(withoutPlus(text))
  if (size === undefined) return outOfRange(withoutPlus(text)) ? 'range' : 'malformed'
  return size < 2 ** 63 ? size : 'range'
}

function withoutPlus(text: string): string {
  return text.replace(/^\s*\+(?=\d)/, '')
}

/** Whether `text` would be a size if it were below 2^64. */
function outOfRange(text: string): boolean {
  const match = /^\s*(0x[0-9a-f]+|\d+(?:\.\d*)?)([bkmgtpe]?)$/i.exec(text)
  return match !== null && Number(match[1]) * (parseSize(`1${match[2]}`) ?? 1) >= 2 ** 64
}

/** The largest size that QEMU takes. Above 2^53 sizes are not exact; images of that size are refused later. */
const largest = 9223372036854775807n

/**
 * A size from a command line, as `dg-img` takes it. `what` names it in the error: `image size`, `start offset`.
 * @throws CommandError when it is not a size or out of range.
 */
export function sizeArgument(
  text: string,
  what: string,
  terminal: Terminal,
  { minimum = 0, maximum = 2 ** 63 }: { readonly minimum?: number; readonly maximum?: number } = {},
): number {
  const size = readSize(text)
  if (size === 'malformed') {
    const more = `${terminal.program}: kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.`
    throw new CommandError(`Invalid ${what} specified. You may use k, M, G, T, P or E suffixes for\n${more}`)
  }
  if (size === 'range' || size < minimum || size > maximum) {
    const last = maximum === 2 ** 63 ? largest : maximum
    throw new CommandError(`Invalid ${what} specified. Must be between ${minimum} and ${last}.`)
  }
  return size
}
