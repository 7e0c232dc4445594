/** What `--help` prints. */
import type { Terminal } from '@diskgraph/tools'
import { optionRows } from '../manual/help.ts'
import { exampleSection, section } from '../manual/layout.ts'
import type { ProgramManual } from '../manual/program.ts'
import { meaningsIn } from '../manual/words.ts'

/** The usage of the program, its options and examples. */
export function usage(manual: ProgramManual, terminal: Terminal): string {
  const options = Object.values(manual.options)
  const words = meaningsIn(options.map(({ argument = '' }) => argument))
  return [
    `Usage: ${terminal.program} ${manual.usage}\n`,
    'Exercises a disk image: reads, writes and examines it by commands.\n',
    section('Options:', optionRows(options), terminal),
    section('Words:', words, terminal),
    exampleSection('Examples:', manual.examples ?? [], terminal),
    `\nWithout -c, commands are read from standard input. '${terminal.program} -c help' lists them.\n`,
  ].join('')
}
