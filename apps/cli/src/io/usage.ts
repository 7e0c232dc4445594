/** What `--help` prints. */
import { optionRows, section } from '../manual/help.ts'
import type { ProgramManual } from '../manual/program.ts'
import { meaningsIn } from '../manual/words.ts'
import type { Terminal } from '../terminal.ts'

/** The usage of the program, its options and examples. */
export function usage({ options, usage: words, examples = [] }: ProgramManual, { program }: Terminal): string {
  const meanings = meaningsIn(Object.values(options).map(({ argument = '' }) => argument))
  return `Usage: ${program} ${words}
Exercises a disk image: reads, writes and examines it by commands.
${section('Options:', optionRows(Object.values(options)))}${section(
  'Words:',
  meanings.map(([word, meaning]) => [word, meaning]),
)}${section(
  'Examples:',
  examples.map(([line, what]) => [`${program} ${line}`, what]),
)}
Without -c, commands are read from standard input. '${program} -c help' lists them.
`
}
