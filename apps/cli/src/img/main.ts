/** `dg-img`: QEMU's image tool, command by command. */
import { type Terminal, UsageError } from '@diskgraph/tools'
import type { Command } from '../command.ts'
import { CommandLine, helpOption } from '../command-line.ts'
import { driverGrammar, enableDrivers, takeDriverOptions } from '../driver-packages.ts'
import type { ProgramManual } from '../manual/program.ts'
import { versionLine } from '../version.ts'
import { amend } from './amend.ts'
import { bench } from './bench.ts'
import { bitmap } from './bitmap.ts'
import { check } from './check.ts'
import { commit } from './commit.ts'
import { compare } from './compare.ts'
import { convert } from './convert.ts'
import { create } from './create.ts'
import { dd } from './dd.ts'
import { imgHelp } from './help.ts'
import { info } from './info.ts'
import { map } from './map.ts'
import { measure } from './measure.ts'
import { rebase } from './rebase.ts'
import { resize } from './resize.ts'
import { snapshot } from './snapshot.ts'

const commands: Readonly<Record<string, Command>> = {
  amend,
  bench,
  bitmap,
  check,
  commit,
  compare,
  convert,
  create,
  dd,
  info,
  map,
  measure,
  rebase,
  resize,
  snapshot,
}

/** `dg-img` as its help and manual page describe it. */
export const imgProgram: ProgramManual = {
  name: 'dg-img',
  summary: "disk images, with the command lines of QEMU's image tool",
  usage: '[standard options] COMMAND [OPTIONS]',
  about: [
    "dg-img makes, converts, checks, compares and changes disk images. Its command lines, output and exit codes are those of QEMU's image tool.",
    'diskgraph has the same commands for people: with colours, progress bars and advice.',
  ],
  options: {
    help: helpOption,
    version: { short: 'V', long: 'version', description: 'show the version' },
    trace: { short: 'T', long: 'trace', argument: 'SPEC', description: 'accepted, without effect' },
    ...driverGrammar,
  },
  commands,
  forPeople: false,
}

/** Runs `dg-img` with the words behind its name. */
export async function runImg(words: readonly string[], terminal: Terminal): Promise<number> {
  const { rest, named } = takeDriverOptions(words)
  const at = skipTrace(rest)
  const word = rest[at]
  if (word === undefined) throw new UsageError('Not enough arguments')
  if (word === '-V' || word === '--version') {
    terminal.out(versionLine(terminal.program))
    return 0
  }
  const wantsHelp = word === '-h' || word === '--help'
  if (word.startsWith('-') && !wantsHelp) throw new UsageError(`unrecognized option '${word}'`)
  const command = Object.hasOwn(commands, word) ? commands[word] : undefined
  if (command === undefined && !wantsHelp) throw new UsageError(`Command not found: ${word}`)
  const args = rest.slice(at + 1)
  if (command === undefined || new CommandLine(command.options, args).asksForHelp()) {
    terminal.out(imgHelp(imgProgram, command && word, terminal))
    return 0
  }
  return command.run(args, { ...terminal, enabled: await enableDrivers(named) })
}

/** `-T` and its value before the command turn tracing on in QEMU; they are read over here. */
function skipTrace(words: readonly string[]): number {
  let at = 0
  while (at < words.length) {
    const word = words[at] as string
    if (word === '-T' || word === '--trace') {
      if (at + 1 >= words.length) throw new UsageError(`missing argument for option '${word}'`)
      at += 2
    } else if (word.startsWith('--trace=') || /^-T./.test(word)) at++
    else break
  }
  return at
}
