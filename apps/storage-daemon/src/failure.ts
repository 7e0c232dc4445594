import { isBlockError } from '@diskgraph/core'

/** An error that ends the program with its text and exit code 1. */
export class StartError extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'StartError'
  }
}

/** The text of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** What to do about an error, or about what has caused it, as a line of its own; empty where nothing is known. */
export function hintLine(error: unknown): string {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (isBlockError(at) && at.hint !== undefined) return `${at.hint}\n`
  }
  return ''
}
