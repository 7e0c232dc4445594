/** `diskgraph`: the commands of `dg-img` with colours, bars, aliases and advice, and a few of its own. */
import type { Command } from '../command.ts'
import { enableDrivers } from '../driver-packages.ts'
import { drivers } from '../driver-table.ts'
import { formatAliases } from '../drivers.ts'
import { commands as imageCommands } from '../img/main.ts'
import { CommandError, HelpRequested, UsageError } from '../messages.ts'
import type { Terminal } from '../terminal.ts'
import { version } from '../version.ts'
import { driversCommand } from './drivers.ts'
import { printHelp } from './help.ts'
import { inspect } from './inspect.ts'
import { nearest } from './nearest.ts'
import { painted } from './paint.ts'
import { tourCommand } from './tour.ts'
import { tree } from './tree.ts'

/** The commands that `dg-img` does not have. */
const ownCommands: Readonly<Record<string, Command>> = {
  drivers: driversCommand,
  inspect,
  tour: tourCommand(runDiskgraph),
  tree,
}

const commands: Readonly<Record<string, Command>> = { ...imageCommands, ...ownCommands }

/** Runs `diskgraph` with the words behind its name. */
export async function runDiskgraph(words: readonly string[], terminal: Terminal): Promise<number> {
  try {
    const { rest, drivers: enabled } = await enableDrivers(words)
    return await dispatch(rest, { ...terminal, enabled })
  } catch (error) {
    if (error instanceof HelpRequested) {
      printHelp(terminal)
      return 0
    }
    throw terminal.signal.aborted ? error : withAdvice(error)
  }
}

async function dispatch(words: readonly string[], terminal: Terminal): Promise<number> {
  const { rest, style, color } = takeGlobalOptions(words)
  const [name, ...args] = rest
  if (name === undefined || name === 'help' || name === '-h' || name === '--help') throw new HelpRequested()
  if (name === '-V' || name === '--version' || name === 'version') {
    terminal.out(`${terminal.program} ${version}\n`)
    return 0
  }
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (command === undefined) throw unknownCommand(name)
  const shown = { ...terminal, progressStyle: style ?? terminal.progressStyle, color: terminal.color && color }
  return command.run(withFormats(args), painted(shown, name))
}

interface GlobalOptions {
  readonly rest: readonly string[]
  readonly style: Terminal['progressStyle'] | undefined
  readonly color: boolean
}

/** Takes `--progress=…` and `--no-color` out of the words; they may stand anywhere. */
function takeGlobalOptions(words: readonly string[]): GlobalOptions {
  let style: Terminal['progressStyle'] | undefined
  let color = true
  const end = words.indexOf('--') < 0 ? words.length : words.indexOf('--')
  const rest = words.filter((word, i) => {
    if (i >= end) return true
    if (word === '--no-color') color = false
    else if (word.startsWith('--progress=')) style = readProgress(word.slice('--progress='.length))
    else return true
    return false
  })
  return { rest, style, color }
}

function readProgress(value: string): Terminal['progressStyle'] {
  if (value === 'auto' || value === 'json' || value === 'none') return value
  throw new UsageError(`--progress is one of auto, json, none, not '${value}'`)
}

/** The words with the format's own name where an alias stands behind `-f`, `-F` or `-O`. */
function withFormats(words: readonly string[]): string[] {
  return words.map((word, i) => {
    const attached = /^(-[fFO]|--format=)(.+)$/.exec(word)
    if (attached !== null) return (attached[1] as string) + formatNamed(attached[2] as string)
    return i > 0 && /^(-[fFO]|--format)$/.test(words[i - 1] as string) ? formatNamed(word) : word
  })
}

function formatNamed(name: string): string {
  return Object.hasOwn(formatAliases, name) ? (formatAliases[name] as string) : name
}

function unknownCommand(name: string): UsageError {
  const near = nearest(name, Object.keys(commands))
  return new UsageError(`there is no command '${name}'`, near === undefined ? {} : { hint: `did you mean '${near}'?` })
}

/** `error` with what to do about it, where that can be guessed: a format that is nearly spelt right. */
function withAdvice(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const [, word] = /Unknown (?:driver|file format) '([^']*)'/.exec(error.message) ?? []
  if (word === undefined) return error
  const near = nearest(word, [...drivers.map(({ name }) => name), ...Object.keys(formatAliases)])
  const hint =
    near === undefined
      ? `other drivers are enabled in front of the command: diskgraph --driver NAME|PATH …`
      : `did you mean '${near}'?`
  const exitCode = error instanceof CommandError ? error.exitCode : 1
  return new CommandError(error.message, { cause: error, hint, exitCode })
}
