/** How it is told that what an image stands on could not be opened. */
import { BlockError, toBlockError } from '../errors.ts'

export function backingFailure(error: unknown): never {
  throw childFailure('backing file', error)
}

export function childFailure(what: string, error: unknown): BlockError {
  const { code, message, hint, node } = toBlockError(error)
  return new BlockError(code, `Could not open ${what}: ${message}`, { cause: error, hint, node })
}
