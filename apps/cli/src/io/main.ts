/** `dg-io`: reads, writes and examines an image by commands, from the command line or from standard input. */
import { enableDrivers } from '../driver-packages.ts'
import { CommandError, showFailure } from '../messages.ts'
import { addObject, type Secrets } from '../objects.ts'
import { withGraph } from '../opening.ts'
import type { Terminal } from '../terminal.ts'
import { compatibleVersion, version } from '../version.ts'
import { closeFile } from './file-commands.ts'
import { GetoptError, type LongOption, type Parsed, parseOptions } from './getopt.ts'
import { inputLines } from './input-lines.ts'
import { ioCommands } from './io-commands.ts'
import { OpenMode, openFile } from './open-file.ts'
import { Session } from './session.ts'
import { usage } from './usage.ts'

const letters = 'hVc:d:f:rsnCmki:t:T:U'

const long: Readonly<Record<string, LongOption>> = {
  help: { letter: 'h' },
  version: { letter: 'V' },
  cmd: { letter: 'c', argument: true },
  format: { letter: 'f', argument: true },
  'read-only': { letter: 'r' },
  snapshot: { letter: 's' },
  nocache: { letter: 'n' },
  'copy-on-read': { letter: 'C' },
  misalign: { letter: 'm' },
  'native-aio': { letter: 'k' },
  aio: { letter: 'i', argument: true },
  discard: { letter: 'd', argument: true },
  cache: { letter: 't', argument: true },
  trace: { letter: 'T', argument: true },
  'force-share': { letter: 'U' },
  object: { letter: 'object', argument: true },
  'image-opts': { letter: 'image-opts' },
}

/** What the words of the program ask for. */
class Request {
  readonly lines: string[] = []
  readonly mode = new OpenMode()
  format: string | undefined
  imageOpts = false
  misalign = false
  secrets: Secrets = {}
  /** `-h` or `-V`: nothing else is done. */
  only: 'help' | 'version' | undefined

  take(letter: string, value: string): void {
    if (letter === 'c') this.lines.push(value)
    else if (letter === 'f') this.format = value
    else if (letter === 'm') this.misalign = true
    else if (letter === 'image-opts') this.imageOpts = true
    else if (letter === 'object') this.secrets = addObject(this.secrets, value)
    else if (letter === 'h') this.only ??= 'help'
    else if (letter === 'V') this.only ??= 'version'
    else this.mode.take(letter, value)
  }
}

/** Runs `dg-io` with the words behind its name. Lines come from `input` when no `-c` is given. */
export async function runIo(
  words: readonly string[],
  terminal: Terminal,
  input?: AsyncIterable<Uint8Array | string>,
): Promise<number> {
  const { rest, drivers: enabled } = await enableDrivers(words)
  return runWords(rest, { ...terminal, enabled }, input)
}

async function runWords(
  words: readonly string[],
  terminal: Terminal,
  input: AsyncIterable<Uint8Array | string> | undefined,
): Promise<number> {
  const parsed = parse(words, terminal)
  if (parsed === undefined) return 1
  const request = new Request()
  for (const { letter, value } of parsed.options) {
    request.take(letter, value)
    if (request.only !== undefined) return tellOnly(request.only, terminal)
  }
  const [filename, extra] = parsed.operands
  if (extra !== undefined) {
    terminal.out(usage(terminal.program))
    return 1
  }
  if (request.format !== undefined && request.imageOpts) {
    throw new CommandError('--image-opts and -f are mutually exclusive')
  }
  return withGraph(terminal, request.secrets, async (graph) => {
    const session = new Session(terminal, graph, ioCommands, request.misalign)
    if (filename !== undefined) await openOperand(session, filename, request)
    await runLines(session, request.lines, input)
    await end(session)
    return session.failed ? 1 : 0
  })
}

function parse(words: readonly string[], terminal: Terminal): Parsed | undefined {
  try {
    return parseOptions(words, { letters, long })
  } catch (error) {
    if (!(error instanceof GetoptError)) throw error
    terminal.err(`${terminal.program}: ${error.message}\n`)
    terminal.out(usage(terminal.program))
    return undefined
  }
}

function tellOnly(what: 'help' | 'version', terminal: Terminal): number {
  const { program } = terminal
  terminal.out(what === 'help' ? usage(program) : `${program} version ${compatibleVersion} (diskgraph ${version})\n`)
  return 0
}

async function openOperand(session: Session, filename: string, request: Request): Promise<void> {
  const { mode, format } = request
  if (request.imageOpts) {
    mode.addOptions(filename, session)
    return openFile(session, undefined, mode)
  }
  if (format !== undefined) mode.options = { driver: format }
  return openFile(session, filename, mode)
}

async function runLines(
  session: Session,
  lines: readonly string[],
  input: AsyncIterable<Uint8Array | string> | undefined,
): Promise<void> {
  const { terminal } = session
  if (lines.length > 0) {
    for (const line of lines) {
      if (session.ended || terminal.signal.aborted) return
      await session.run(line)
    }
    return
  }
  const typed = inputLines(input ?? process.stdin, terminal.signal)
  try {
    while (!session.ended && !terminal.signal.aborted) {
      terminal.out(`${terminal.program}> `)
      const { value, done } = await session.background.whileWaiting(() => typed.next())
      if (done) return
      await session.run(value)
    }
  } finally {
    await typed.return(undefined)
  }
}

/** Waits for what runs in the background and closes the file; a failure to write what is left counts. */
async function end(session: Session): Promise<void> {
  try {
    await session.background.finish()
    await closeFile(session)
  } catch (error) {
    session.failed = true
    showFailure(session.terminal, error)
  }
}
