/** `--help` of `dg-img`. Scripts look into it: for what follows `Supported formats:`, and for options of commands. */
import type { Terminal } from '@diskgraph/tools'
import { usableDrivers } from '../drivers.ts'
import { commandHelp, optionRows, synopsis } from '../manual/help.ts'
import { section } from '../manual/layout.ts'
import type { ProgramManual } from '../manual/program.ts'
import { meaningsIn } from '../manual/words.ts'
import { compatibleVersion, versionLine } from '../version.ts'

/** The help of `command`, or of all commands. */
export function imgHelp(program: ProgramManual, command: string | undefined, terminal: Terminal): string {
  const text = command === undefined ? everything(program, terminal) : commandHelp(program, command, terminal)
  const formats = usableDrivers(terminal).map(({ name }) => name)
  return `${text}\nSupported formats: ${formats.sort().join(' ')}\n`
}

function everything({ commands, options, usage }: ProgramManual, terminal: Terminal): string {
  const { program } = terminal
  const lines = Object.entries(commands).map(([name, command]) => `  ${synopsis(name, command)}\n`)
  return `${versionLine(program)}usage: ${program} ${usage}

Command lines and output are those of QEMU's image tool, version ${compatibleVersion}.
'${program} COMMAND --help' says more of one command.
${section('Standard options:', optionRows(Object.values(options)), terminal)}
Command syntax:
${lines.join('')}${section('Words in these lines:', meaningsIn(lines), terminal)}`
}
