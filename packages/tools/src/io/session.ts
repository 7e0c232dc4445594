/**
 * What the commands share: the open disk, the requests in the background, and how a line becomes a call.
 *
 * Background requests (`aio_read`, `aio_write`) tell their result when they end. So that output does not depend on
 * the moods of an event loop, results are held back while a command runs that would not wait for anything in the
 * tool that scripts are written for, and are told when something waits: a request, `sleep`, or standard input.
 */
import type { Disk, Graph, Node } from '@diskgraph/core'
import { errnoText, showFailure } from '../messages.ts'
import type { Terminal } from '../terminal.ts'
import { Background } from './background.ts'
import { GetoptError, parseOptions } from './getopt.ts'

/** A command has failed; the message is a line of its own. */
export class CommandFailure extends Error {
  readonly stream: 'out' | 'err'

  constructor(message: string, stream: 'out' | 'err' = 'out') {
    super(message)
    this.stream = stream
  }
}

/** A command has failed, and its exit code is all that scripts expect to see of it. */
export class SilentFailure extends Error {}

/** The words of a command are wrong: its synopsis is shown. */
export class WrongUsage extends Error {}

/** The words of a command, its options apart. */
export interface CommandWords {
  /** Whether the option was given. */
  has(letter: string): boolean
  /** The last value of an option. */
  value(letter: string): string | undefined
  /** All values of an option, in order. */
  values(letter: string): readonly string[]
  readonly operands: readonly string[]
}

/** A command of the tool. */
export interface IoCommand {
  readonly name: string
  readonly alias?: string
  /** How many words may stand behind the name, options counted. */
  readonly minimum: number
  readonly maximum: number
  /** Words as the help shows them. */
  readonly synopsis?: string
  readonly summary: string
  /** Further lines of help. */
  readonly help?: string
  /** Options in getopt's spelling. Without it all words are operands. */
  readonly letters?: string
  /** Runs without an open file, too. */
  readonly fileless?: boolean
  /** Refused on a read-only file. */
  readonly writes?: boolean
  /** Waits for storage or time, so that results of background requests are told meanwhile. */
  readonly waits?: boolean
  run(session: Session, words: CommandWords): Promise<void> | void
}

/** An open file and how it is used. */
interface OpenFile {
  readonly disk: Disk
  readonly filename: string
  /** The image itself: with `-C` it stands below the filter that the disk reads through. */
  readonly node: Node
}

/** Events of breakpoints, which are told as they happen. */
const breakpointEvents: Readonly<Record<string, string>> = {
  BLKDEBUG_SUSPENDED: 'Suspended',
  BLKDEBUG_RESUMED: 'Resuming',
}

/** See the top of the file. */
export class Session {
  readonly terminal: Terminal
  readonly graph: Graph
  readonly commands: readonly IoCommand[]
  readonly background: Background
  /** Buffers start at an address that is no multiple of the block size. */
  readonly misalign: boolean
  /** The operand of `open` is a list of options. */
  imageOpts = false
  file: OpenFile | undefined
  /** Some command has failed. */
  failed = false
  /** `quit` was called. */
  ended = false

  constructor(terminal: Terminal, graph: Graph, commands: readonly IoCommand[], misalign: boolean) {
    this.terminal = terminal
    this.graph = graph
    this.commands = commands
    this.misalign = misalign
    this.background = new Background((text) => terminal.out(text))
    graph.onEvent(({ event, data }) => {
      const what = breakpointEvents[event]
      if (what !== undefined) terminal.out(`blkdebug: ${what} request '${data.tag}'\n`)
    })
  }

  /** The open disk. Commands that are not `fileless` run only when there is one. */
  get disk(): Disk {
    return (this.file as OpenFile).disk
  }

  /** The image of the open disk. */
  get node(): Node {
    return (this.file as OpenFile).node
  }

  find(name: string): IoCommand | undefined {
    return this.commands.find((command) => command.name === name || command.alias === name)
  }

  /** A buffer for one request, filled with `byte`. */
  buffer(length: number, byte: number): Uint8Array {
    const buf = this.misalign ? new Uint8Array(length + 16).subarray(16) : new Uint8Array(length)
    return byte === 0 ? buf : buf.fill(byte)
  }

  /** Runs one line. Failures are told and remembered; only the end of output is thrown. */
  async run(line: string): Promise<void> {
    const [name, ...words] = line.split(' ').filter((word) => word !== '')
    if (name === undefined) return
    const command = this.find(name)
    try {
      if (command === undefined) throw new CommandFailure(`command "${name}" not found`, 'err')
      this.#check(command, name, words.length)
      const parsed = commandWords(command, words)
      const work = async (): Promise<void> => command.run(this, parsed)
      await (command.waits ? this.background.whileWaiting(work) : work())
    } catch (error) {
      this.failed = true
      this.#tell(error, command, name)
    }
  }

  #check(command: IoCommand, name: string, count: number): void {
    if (!command.fileless && this.file === undefined) {
      throw new CommandFailure("no file open, try 'help open'", 'err')
    }
    const { minimum, maximum } = command
    if (count < minimum || count > maximum) {
      throw new CommandFailure(`bad argument count ${count} to ${name}, expected ${countText(minimum, maximum)}`, 'err')
    }
    if (command.writes && this.disk.readOnly) throw new ReadOnly('Block node is read-only')
  }

  #tell(error: unknown, command: IoCommand | undefined, name: string): void {
    const { terminal } = this
    if (error instanceof CommandFailure) terminal[error.stream](`${error.message}\n`)
    else if (error instanceof WrongUsage || error instanceof GetoptError) {
      if (error instanceof GetoptError) terminal.err(`${name}: ${error.message}\n`)
      terminal.out(`${synopsisLine(command as IoCommand)}\n`)
    } else if (!(error instanceof SilentFailure) || terminal.forPeople) showFailure(terminal, error)
  }
}

/** A change of a file that is open for reading only. */
class ReadOnly extends Error {}

function countText(minimum: number, maximum: number): string {
  if (maximum === Number.POSITIVE_INFINITY) return `at least ${minimum} arguments`
  return minimum === maximum ? `${minimum} arguments` : `between ${minimum} and ${maximum} arguments`
}

function commandWords(command: IoCommand, words: readonly string[]): CommandWords {
  const { options, operands } =
    command.letters === undefined ? { options: [], operands: words } : parseOptions(words, { letters: command.letters })
  return {
    operands,
    has: (letter) => options.some((option) => option.letter === letter),
    value: (letter) => options.findLast((option) => option.letter === letter)?.value,
    values: (letter) => options.filter((option) => option.letter === letter).map((option) => option.value),
  }
}

/** `read [-q] off len -- reads…`: what `help` and wrong usage show. */
export function synopsisLine({ name, synopsis, summary }: IoCommand): string {
  return `${name} ${synopsis === undefined ? '' : `${synopsis} `}-- ${summary}`
}

/** Waits for `request`; its failure is told as `<verb> failed: <reason>`. */
export async function attempt<T>(verb: string, request: Promise<T>): Promise<T> {
  try {
    return await request
  } catch (error) {
    throw new CommandFailure(`${verb} failed: ${errnoText(error)}`)
  }
}
