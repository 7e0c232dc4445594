/** `diskgraph`: the commands of `dg-img` with colours, bars, aliases and advice, and a few of its own. */
import { messageOf, type Terminal, UsageError } from '@diskgraph/tools'
import type { Command } from '../command.ts'
import { CommandLine, helpOption } from '../command-line.ts'
import { driverGrammar, enableDrivers, takeDriverOptions } from '../driver-packages.ts'
import { imgProgram } from '../img/main.ts'
import { ioProgram } from '../io/main.ts'
import { failureCode } from '../main.ts'
import type { ProgramManual } from '../manual/program.ts'
import { nbdProgram } from '../nbd/main.ts'
import { version } from '../version.ts'
import { withAdvice } from './advice.ts'
import { compact } from './compact.ts'
import { completionCommand } from './completion.ts'
import { driversCommand } from './drivers.ts'
import { anywhere, takeGlobalOptions, withFormats } from './global-options.ts'
import { peopleHelp } from './help.ts'
import { inspect } from './inspect.ts'
import { convert, create } from './named-targets.ts'
import { nearest } from './nearest.ts'
import { painted } from './paint.ts'
import { rescue } from './rescue.ts'
import { tourCommand } from './tour.ts'
import { tree } from './tree.ts'

const commands: Readonly<Record<string, Command>> = {
  ...imgProgram.commands,
  compact,
  completion: completionCommand(() => programs),
  convert,
  create,
  drivers: driversCommand,
  inspect,
  rescue,
  tour: tourCommand(runDiskgraph),
  tree,
}

/** `diskgraph` as its help and manual page describe it. */
const diskgraph: ProgramManual = {
  name: 'diskgraph',
  summary: 'disk images, for people',
  usage: '[--driver=DRIVER]... COMMAND [OPTIONS]',
  about: [
    'diskgraph makes, converts, checks, compares and changes disk images, and says what they are.',
    'An image is named by a path, by a name with a protocol (http://..., blkdebug:...), by a json:{...} name, or with --image-opts by a list such as driver=qcow2,file.filename=a.qcow2.',
  ],
  options: {
    help: helpOption,
    version: { short: 'V', long: 'version', description: 'show the version' },
    ...driverGrammar,
  },
  anywhere,
  commands,
  forPeople: true,
}

/** All programs. */
export const programs: readonly ProgramManual[] = [diskgraph, imgProgram, ioProgram, nbdProgram]

/** Runs `diskgraph` with the words behind its name. */
export async function runDiskgraph(words: readonly string[], terminal: Terminal): Promise<number> {
  const { rest: withoutDrivers, named } = takeDriverOptions(words)
  const { rest, style, color } = takeGlobalOptions(withoutDrivers)
  const shown = { ...terminal, progressStyle: style ?? terminal.progressStyle, color: terminal.color && color }
  const [first = 'help', ...others] = rest
  if (first === '-V' || first === '--version' || first === 'version') {
    terminal.out(`${terminal.program} ${version}\n`)
    return 0
  }
  const isHelp = first === 'help' || first === '-h' || first === '--help'
  const name = isHelp ? others[0] : first
  const command = name === undefined ? undefined : commandNamed(name)
  if (name === undefined || command === undefined || isHelp || new CommandLine(command.options, others).asksForHelp()) {
    terminal.out(peopleHelp(diskgraph, name, shown))
    return 0
  }
  const run = async (): Promise<number> => {
    const enabled = await enableDrivers(named)
    return command.run(withFormats(others), painted({ ...shown, enabled }, name))
  }
  const advised = (error: unknown): never => {
    if (error instanceof UsageError) error.command = name
    throw terminal.signal.aborted ? error : withAdvice(error, [name, ...others], terminal)
  }
  return shown.progressStyle === 'json'
    ? runTold(name, command, () => run().catch(advised), shown)
    : run().catch(advised)
}

/**
 * Runs a command whose reader is a program: the last line on standard error says how it ended. An exit code that has a
 * meaning of its own, as that of a difference, is no error.
 */
async function runTold(
  name: string,
  { exitCodes = {} }: Command,
  run: () => Promise<number>,
  terminal: Terminal,
): Promise<number> {
  const tell = (members: Record<string, unknown>): void => {
    terminal.err(`${JSON.stringify({ progress: name, ...members })}\n`)
  }
  try {
    const exitCode = await run()
    tell({ ended: exitCode === 0 || exitCode in exitCodes ? 'ok' : 'error', exitCode })
    return exitCode
  } catch (error) {
    const exitCode = await failureCode(terminal, error)
    if (exitCode === 0) tell({ ended: 'ok', exitCode })
    else tell({ ended: 'error', exitCode, message: terminal.signal.aborted ? 'interrupted' : messageOf(error) })
    return exitCode
  }
}

function commandNamed(name: string): Command {
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (command !== undefined) return command
  const isOption = name.startsWith('-')
  const options = Object.values({ ...diskgraph.options, ...anywhere }).map(({ long = '' }) => `--${long}`)
  const near = nearest(name.replace(/=.*/, ''), isOption ? options : Object.keys(commands))
  const hint = near === undefined ? {} : { hint: `did you mean '${near}'?` }
  throw new UsageError(isOption ? `unrecognized option '${name}'` : `there is no command '${name}'`, hint)
}
