/** `dg-img`: QEMU's image tool, command by command. */
import type { Command } from '../command.ts'
import { HelpRequested, UsageError } from '../messages.ts'
import type { Terminal } from '../terminal.ts'
import { compatibleVersion, version } from '../version.ts'

/** The commands, each loaded when it is called. */
export const commands: Readonly<Record<string, () => Promise<Command>>> = {
  amend: async () => (await import('./amend.ts')).amend,
  bench: async () => (await import('./bench.ts')).bench,
  bitmap: async () => (await import('./bitmap.ts')).bitmap,
  check: async () => (await import('./check.ts')).check,
  commit: async () => (await import('./commit.ts')).commit,
  compare: async () => (await import('./compare.ts')).compare,
  convert: async () => (await import('./convert.ts')).convert,
  create: async () => (await import('./create.ts')).create,
  dd: async () => (await import('./dd.ts')).dd,
  info: async () => (await import('./info.ts')).info,
  map: async () => (await import('./map.ts')).map,
  measure: async () => (await import('./measure.ts')).measure,
  rebase: async () => (await import('./rebase.ts')).rebase,
  resize: async () => (await import('./resize.ts')).resize,
  snapshot: async () => (await import('./snapshot.ts')).snapshot,
}

/** Runs `dg-img` with the words behind its name. */
export async function runImg(words: readonly string[], terminal: Terminal): Promise<number> {
  try {
    return await dispatch(words, terminal)
  } catch (error) {
    if (!(error instanceof HelpRequested)) throw error
    const { printHelp } = await import('./help.ts')
    printHelp(terminal)
    return 0
  }
}

async function dispatch(words: readonly string[], terminal: Terminal): Promise<number> {
  const at = skipTrace(words)
  const word = words[at]
  if (word === undefined) throw new UsageError('Not enough arguments')
  if (word === '-V' || word === '--version') {
    terminal.out(`${terminal.program} version ${compatibleVersion} (diskgraph ${version})\n`)
    return 0
  }
  if (word === '-h' || word === '--help') throw new HelpRequested()
  if (word.startsWith('-')) throw new UsageError(`unrecognized option '${word}'`)
  const load = Object.hasOwn(commands, word) ? commands[word] : undefined
  if (load === undefined) throw new UsageError(`Command not found: ${word}`)
  const command = await load()
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
