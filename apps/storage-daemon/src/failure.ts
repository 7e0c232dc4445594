import { isBlockError } from '@diskgraph/core'
import { inQapiSpelling } from '@diskgraph/core/internal'

/** An error that ends the program with its text and exit code 1. */
export class StartError extends Error {
  /** What to do about it, where its cause does not say. */
  readonly hint: string | undefined

  constructor(message: string, cause?: unknown, hint?: string) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'StartError'
    this.hint = hint
  }
}

/** The text of whatever was thrown. */
export function messageOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error)
  return isBlockError(error) ? inQapiSpelling(text) : text
}

/** The value of an option, for messages: what is given as data of a secret is left out. */
export function shownValue(value: string): string {
  return value.replace(/\bdata=(?:[^,]|,,)*/g, 'data=…').replace(/("data"\s*:\s*)"(?:[^"\\]|\\.)*"?/g, '$1"…"')
}

/** What to do about an error, or about what has caused it, as a line of its own; empty where nothing is known. */
export function hintLine(error: unknown): string {
  for (let at = error; at instanceof Error; at = at.cause) {
    const { hint } = at as { readonly hint?: unknown }
    if (typeof hint === 'string') return `${hint}\n`
  }
  return ''
}
