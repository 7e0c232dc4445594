/** `dg-img`: QEMU's image tool, command by command. */
import type { Command } from '../command.ts'
import { enableDrivers } from '../driver-packages.ts'
import { HelpRequested, UsageError } from '../messages.ts'
import type { Terminal } from '../terminal.ts'
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
import { printHelp } from './help.ts'
import { info } from './info.ts'
import { map } from './map.ts'
import { measure } from './measure.ts'
import { rebase } from './rebase.ts'
import { resize } from './resize.ts'
import { snapshot } from './snapshot.ts'

/** The commands by name. */
export const commands: Readonly<Record<string, Command>> = {
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

/** Runs `dg-img` with the words behind its name. */
export async function runImg(words: readonly string[], terminal: Terminal): Promise<number> {
  try {
    const { rest, drivers } = await enableDrivers(words)
    return await dispatch(rest, { ...terminal, enabled: drivers })
  } catch (error) {
    if (!(error instanceof HelpRequested)) throw error
    printHelp(terminal)
    return 0
  }
}

async function dispatch(words: readonly string[], terminal: Terminal): Promise<number> {
  const at = skipTrace(words)
  const word = words[at]
  if (word === undefined) throw new UsageError('Not enough arguments')
  if (word === '-V' || word === '--version') {
    terminal.out(versionLine(terminal.program))
    return 0
  }
  if (word === '-h' || word === '--help') throw new HelpRequested()
  if (word.startsWith('-')) throw new UsageError(`unrecognized option '${word}'`)
  const command = Object.hasOwn(commands, word) ? commands[word] : undefined
  if (command === undefined) throw new UsageError(`Command not found: ${word}`)
  return command.run(words.slice(at + 1), terminal)
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
