/** `dg-io`: reads, writes and examines an image by commands, from the command line or from standard input. */
import {
  CommandError,
  GetoptError,
  type Parsed,
  parseOptions,
  Session,
  showFailure,
  type Terminal,
} from '@diskgraph/tools'
import { type Grammar, getoptGrammar, helpOption } from '../command-line.ts'
import { driverGrammar, enableDrivers, takeDriverOptions } from '../driver-packages.ts'
import type { ProgramManual } from '../manual/program.ts'
import { addObject, type Objects } from '../objects.ts'
import { withGraph } from '../opening.ts'
import { versionLine } from '../version.ts'
import { closeFile } from './file-commands.ts'
import { inputLines } from './input-lines.ts'
import { ioCommands } from './io-commands.ts'
import { OpenMode, openFile } from './open-file.ts'
import { usage } from './usage.ts'

const grammar: Grammar = {
  object: { long: 'object', argument: 'DEF', description: 'define a secret' },
  imageOpts: { long: 'image-opts', description: 'FILE is a list of options' },
  command: { short: 'c', long: 'cmd', argument: 'COMMAND', description: 'run the command; may be repeated' },
  format: { short: 'f', long: 'format', argument: 'FORMAT', description: 'format of the image' },
  readOnly: { short: 'r', long: 'read-only', description: 'open for reading only' },
  snapshot: { short: 's', long: 'snapshot', description: 'keep changes in a temporary overlay' },
  noCache: { short: 'n', long: 'nocache', description: 'past the page cache, short for -t none' },
  copyOnRead: { short: 'C', long: 'copy-on-read', description: 'keep in the image what comes from a backing file' },
  misalign: { short: 'm', long: 'misalign', description: 'misalign the memory of requests' },
  nativeAio: { short: 'k', long: 'native-aio', description: 'short for -i native' },
  aio: { short: 'i', long: 'aio', argument: 'threads|native|io_uring', description: 'how requests are made' },
  cache: { short: 't', long: 'cache', argument: 'CACHE', description: 'cache mode' },
  discard: { short: 'd', long: 'discard', argument: 'ignore|unmap', description: 'what discards do; off and on, too' },
  trace: { short: 'T', long: 'trace', argument: 'SPEC', description: 'accepted, without effect' },
  forceShare: { short: 'U', long: 'force-share', description: 'share the image with everybody (with -r)' },
  help: helpOption,
  version: { short: 'V', long: 'version', description: 'show the version' },
}

/** `dg-io` as its help and manual page describe it. */
export const ioProgram: ProgramManual = {
  name: 'dg-io',
  summary: "reads, writes and looks at parts of a disk image, with the command lines of QEMU's I/O tool",
  usage: '[OPTIONS]... [-c COMMAND]... [FILE]',
  about: [
    "dg-io opens an image and runs commands on it: requests of any place and length, with patterns that are checked. Its command lines and output are those of QEMU's I/O tool.",
    'Commands come from -c, or from standard input.',
  ],
  options: { ...driverGrammar, ...grammar },
  commands: {},
  typed: ioCommands,
  examples: [
    ["-c 'read 0 64k' disk.qcow2", 'read the first 64 KiB, and say how long it took'],
    ["-r -c 'read -v 0 512' disk.qcow2", 'look at the first sector'],
    ["-c 'write -P 0xaa 1M 4k' -c 'read -P 0xaa 1M 4k' disk.qcow2", 'write a pattern, check that it is there'],
    ['-f raw -c map disk.raw', 'where data stands'],
    ["-c 'help write'", 'what a command can do'],
  ],
  forPeople: false,
}

/** The options in getopt's words. */
const getopt = getoptGrammar(grammar)

/** What the words of the program ask for. */
class Request {
  readonly lines: string[] = []
  readonly mode = new OpenMode()
  format: string | undefined
  imageOpts = false
  misalign = false
  objects: Objects = []
  /** `-h` or `-V`: nothing else is done. */
  only: 'help' | 'version' | undefined

  take(letter: string, value: string): void {
    if (letter === 'c') this.lines.push(value)
    else if (letter === 'f') this.format = value
    else if (letter === 'm') this.misalign = true
    else if (letter === 'image-opts') this.imageOpts = true
    else if (letter === 'object') this.objects = addObject(this.objects, value)
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
  const { rest, named } = takeDriverOptions(words)
  const parsed = parse(rest, terminal)
  if (parsed === undefined) return 1
  const request = new Request()
  for (const { letter, value } of parsed.options) {
    request.take(letter, value)
    if (request.only !== undefined) return tellOnly(request.only, terminal)
  }
  const [filename, extra] = parsed.operands
  if (extra !== undefined) {
    terminal.out(usage(ioProgram, terminal))
    return 1
  }
  const enabled = await enableDrivers(named)
  if (request.format !== undefined && request.imageOpts) {
    throw new CommandError('--image-opts and -f are mutually exclusive')
  }
  return withGraph({ ...terminal, enabled }, request.objects, async (graph) => {
    const session = new Session(terminal, graph, ioCommands, request.misalign)
    session.imageOpts = request.imageOpts
    if (filename !== undefined) await openOperand(session, filename, request)
    await runLines(session, request.lines, input)
    await end(session)
    return session.failed ? 1 : 0
  })
}

function parse(words: readonly string[], terminal: Terminal): Parsed | undefined {
  try {
    return parseOptions(words, getopt)
  } catch (error) {
    if (!(error instanceof GetoptError)) throw error
    terminal.err(`${terminal.program}: ${error.message}\n`)
    terminal.out(usage(ioProgram, terminal))
    return undefined
  }
}

function tellOnly(what: 'help' | 'version', terminal: Terminal): number {
  terminal.out(what === 'help' ? usage(ioProgram, terminal) : versionLine(terminal.program))
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
