/** An error that ends the program with its text and exit code 1. */
export class StartError extends Error {
  /** What to do about it. */
  readonly hint: string | undefined

  /** `hint` default: that of `cause`. */
  constructor(message: string, cause?: unknown, hint = hintOf(cause)) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'StartError'
    this.hint = hint
  }
}

/** What whatever was thrown says is to be done about it. */
export function hintOf(error: unknown): string | undefined {
  const { hint } = Object(error) as { readonly hint?: unknown }
  return typeof hint === 'string' ? hint : undefined
}

/** The text of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
