/** An offset and several lengths, as the vectored commands take them. */
import { maxRequest, parseAmount, type Range } from './numbers.ts'
import { CommandFailure, WrongUsage } from './session.ts'

/** Reads `off len [len..]`. */
export function parseVector(operands: readonly string[]): Range {
  if (operands.length < 2) throw new WrongUsage()
  const offset = parseAmount(operands[0] as string)
  let length = 0
  for (const word of operands.slice(1)) {
    const part = parseAmount(word)
    if (part > maxRequest) throw new CommandFailure(`Argument '${word}' exceeds maximum size ${maxRequest}`)
    if (length > maxRequest - part) {
      throw new CommandFailure(`The total number of bytes exceed the maximum size ${maxRequest}`)
    }
    length += part
  }
  return { offset, length }
}
