import { JobError } from '@diskgraph/jobs'
import { CommandError, errnoText } from '@diskgraph/tools'

const whats = {
  read: 'reading at byte',
  status: 'reading block status at offset',
  write: 'writing at byte',
} as const

/** The error of a copy as it is told; other errors, and those of a copy that was interrupted, stay as they are. */
export function copyFailure(error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted || !(error instanceof JobError)) return error
  const { operation, offset } = error.request
  const message = `error while ${whats[operation]} ${offset}: ${errnoText(error.cause)}`
  return new CommandError(message, { cause: error.cause })
}
