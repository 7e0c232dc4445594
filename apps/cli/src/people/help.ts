/** `--help` of `diskgraph`. */
import type { Terminal } from '@diskgraph/tools'
import type { CommandGroup } from '../command.ts'
import { commandHelp, optionRows, shortUsage } from '../manual/help.ts'
import { type Row, section } from '../manual/layout.ts'
import type { ProgramManual } from '../manual/program.ts'
import { formatNames } from '../manual/words.ts'
import { styleFor } from '../style.ts'
import { version } from '../version.ts'

const groups: Readonly<Record<CommandGroup, string>> = { look: 'Look', change: 'Make and change', other: 'Other' }

/** The help of `command`, or the list of commands. */
export function peopleHelp(program: ProgramManual, command: string | undefined, terminal: Terminal): string {
  if (command !== undefined) return commandHelp(program, command, terminal)
  const style = styleFor(terminal)
  const all = Object.entries(program.commands).sort(([a], [b]) => (a < b ? -1 : 1))
  const options = [...Object.values(program.options), ...Object.values(program.anywhere ?? {})]
  const width = Math.max(...all.map(([name, one]) => shortUsage(name, one).length))
  const lists = Object.entries(groups).map(([group, title]) => {
    const rows = all
      .filter(([, one]) => one.group === group)
      .map(([name, one]): Row => [shortUsage(name, one).padEnd(width), one.summary])
    return section(title, rows, terminal)
  })
  return `${style.bold('diskgraph')} ${version}: disk images
usage: ${terminal.program} ${program.usage}
       ${terminal.program} COMMAND --help
${lists.join('')}${section('Options', optionRows(options), terminal)}
Formats: ${formatNames(terminal).join(' ')}
`
}
