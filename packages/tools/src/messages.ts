/** Errors of commands and how they are shown: `<program>: <message>`, hints below, an exit code. */
import { describeErrorCode, type ErrorCode, isBlockError } from '@diskgraph/core'
import { inQapiSpelling } from '@diskgraph/core/internal'
import type { Terminal } from './terminal.ts'

/** An error that is told to the user as it stands, without a stack. */
export class CommandError extends Error {
  readonly exitCode: number
  /** A line below the message, printed as it is. */
  readonly hint: string | undefined

  constructor(message: string, options: { exitCode?: number; hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.exitCode = options.exitCode ?? 1
    this.hint = options.hint
  }
}

/** A command line that is wrong: the way to the help is shown below the message. */
export class UsageError extends CommandError {
  /** The command whose help is meant; undefined: that of the program. */
  command: string | undefined
}

/** `-h` or `--help` was given: the help is printed and the command ends well. */
export class HelpRequested extends Error {}

/** Prints `<program>: <message>` to standard error; of several lines each is printed as it is. */
export function reportError(terminal: Terminal, message: string): void {
  terminal.err(`${terminal.program}: ${message}\n`)
}

/** Prints `<program>: warning: <message>`. */
export function reportWarning(terminal: Terminal, message: string): void {
  terminal.err(`${terminal.program}: warning: ${message}\n`)
}

/** Shows an error that ended a command, and says the exit code for it. Bugs are reported in one line, too. */
export function showFailure(terminal: Terminal, error: unknown): number {
  if (error instanceof UsageError) {
    reportError(terminal, error.message)
    if (error.hint !== undefined) showHint(terminal, error.hint)
    const command = error.command === undefined ? '' : ` ${error.command}`
    terminal.err(`Try '${terminal.program}${command} --help' for more information\n`)
    return error.exitCode
  }
  if (error instanceof CommandError) {
    reportError(terminal, error.message)
    showHint(terminal, error.hint ?? hintOf(error.cause))
    return error.exitCode
  }
  reportError(terminal, messageOf(error))
  showHint(terminal, hintOf(error))
  return 1
}

/** Prints a hint where it is wanted: people get all of them, scripts only those that QEMU prints. */
function showHint(terminal: Terminal, hint: string | undefined): void {
  if (hint === undefined || hint === '') return
  // QEMU ends this one line without a newline.
  const end = hint.startsWith('Detected format of ') && !terminal.forPeople ? '' : '\n'
  if (qemuHints.some((pattern) => pattern.test(hint))) terminal.err(hint.endsWith('\n') ? hint : hint + end)
  else if (terminal.forPeople) terminal.err(`hint: ${hint}\n`)
}

/** Texts that QEMU prints below a message without the name of the program. */
const qemuHints: readonly RegExp[] = [
  /^Is another process using the image/,
  /^Optional suffix k, M, G/,
  /^Could not open backing image\.$/,
  /^Detected format of /,
  /^This option is only supported for image creation$/,
  /^You can use 'qemu-img rebase' instead\.$/,
  /^You can force-remove /,
  /^(Did you forget a valid tls-creds\?\n)?server reported: /,
  /^Did you forget a valid tls-creds\?\n$/,
  /^Try (block-dirty-bitmap-remove|--skip-broken-bitmaps)/,
]

/** The hint of an error of the block layer. */
export function hintOf(error: unknown): string | undefined {
  if (error instanceof CommandError) return error.hint
  return isBlockError(error) ? error.hint : undefined
}

/**
 * The message of any error. Control characters, which may come out of an image, are made visible, and options are
 * called as on command lines.
 */
export function messageOf(error: unknown): string {
  const message = visible(error instanceof Error ? error.message : String(error))
  return isBlockError(error) ? inQapiSpelling(message) : message
}

/** What the C library would say for the code of `error`: QEMU prints it behind `<what was attempted>: `. */
export function errnoText(error: unknown): string {
  const { code } = error as { code?: unknown }
  return typeof code === 'string' && isBlockError(error) ? describeErrorCode(code as ErrorCode) : messageOf(error)
}

/** `text` with control characters but tab and newline as `\x1b`, so that names out of images cannot drive a terminal. */
export function visible(text: string): string {
  return text.replace(control, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`)
}

/** Control characters of ASCII and of its 8-bit extension, without tab and newline. */
const control = /(?![\t\n])\p{Cc}/gu

/** As {@link visible}, for text on one line: newlines and tabs, too. */
export function visibleLine(text: string): string {
  return visible(text).replaceAll('\n', '\\x0a').replaceAll('\t', '\\x09')
}
