import { SourceError, TargetError } from '@diskgraph/jobs'
import { CommandError, errnoText } from '../messages.ts'

/** The error of a copy as it is told; other errors, and those of a copy that was interrupted, stay as they are. */
export function copyFailure(error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return error
  if (error instanceof SourceError) {
    const what = error.kind === 'read' ? 'reading at byte' : 'reading block status at offset'
    return new CommandError(`error while ${what} ${error.offset}: ${errnoText(error.cause)}`, { cause: error.cause })
  }
  if (error instanceof TargetError) {
    const message = `error while writing at byte ${error.offset}: ${errnoText(error.cause)}`
    return new CommandError(message, { cause: error.cause })
  }
  return error
}
