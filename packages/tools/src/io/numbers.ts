/** Numbers in the words of a command. */
import { isAligned, maxOffset } from '@diskgraph/core/driver'
import { parseInteger } from '../integers.ts'
import { readSize } from '../sizes.ts'
import { CommandFailure, type CommandWords } from './session.ts'

/** Longest request that has to be done in one: 2 GiB less one sector. */
export const maxRequest = 2 ** 31 - 512

/**
 * An offset or a length with an optional suffix.
 * @throws CommandFailure that names the word.
 */
export function parseAmount(word: string): number {
  const value = word.startsWith('-') ? 'malformed' : readSize(word)
  if (value === 'malformed') {
    throw new CommandFailure(`Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- ${word}`)
  }
  if (value === 'range') throw new CommandFailure(`Parsing error: argument too large -- ${word}`)
  // What no disk reaches is past the end of every one.
  return Math.min(value, maxOffset)
}

/** An offset and a length. */
export interface Range {
  readonly offset: number
  readonly length: number
}

/** Reads `off len`. `exception` says what would allow a length that is above {@link maxRequest}. */
export function parseRange(operands: readonly string[], exception = ''): Range {
  const range = parseLongRange(operands)
  if (range.length <= maxRequest) return range
  throw new CommandFailure(`length cannot exceed ${maxRequest}${exception}, given ${operands[1]}`)
}

/** {@link parseRange} without a limit. */
export function parseLongRange(operands: readonly string[]): Range {
  const [offset, length] = operands.map(parseAmount) as [number, number]
  return { offset, length }
}

/** A byte to fill or compare with: decimal, `0x` hexadecimal, or octal with a leading `0`. */
function parsePattern(word: string): number {
  const value = parseInteger(word)
  if (value === undefined || value < 0 || value > 255) throw new CommandFailure(`${word} is not a valid pattern byte`)
  return value
}

/** The byte that `-P` gives. */
export function patternOf(words: CommandWords): number | undefined {
  const word = words.value('P')
  return word === undefined ? undefined : parsePattern(word)
}

/** Refuses what VM state and compressed writes cannot take. */
export function requireSectors({ offset, length }: Range): void {
  for (const [word, value] of [['offset', offset] as const, ['count', length] as const]) {
    if (!isAligned(value, 512)) throw new CommandFailure(`${value} is not a sector-aligned value for '${word}'`)
  }
}
