/** `completion`: a script that lets a shell complete the command lines of all programs. */
import { type Terminal, UsageError } from '@diskgraph/tools'
import type { Command } from '../command.ts'
import { CommandLine } from '../command-line.ts'
import { completionScript } from '../manual/completion.ts'
import type { ProgramManual } from '../manual/program.ts'

const shells = ['bash', 'zsh', 'fish'] as const

/** The command for `programs`, which are asked for when it runs: it is one of their commands itself. */
export function completionCommand(programs: () => readonly ProgramManual[]): Command {
  return {
    group: 'other',
    summary: 'a completion script for a shell, covering all programs',
    operands: shells.join('|'),
    options: {},
    examples: [
      ['completion bash > diskgraph.bash', 'source it in ~/.bashrc'],
      ['completion zsh > _diskgraph', 'put it into a folder of $fpath'],
      ['completion fish > diskgraph.fish', 'put it into ~/.config/fish/conf.d'],
    ],
    async run(words: readonly string[], terminal: Terminal): Promise<number> {
      const line = new CommandLine({}, words)
      for (const _ of line);
      const [name, ...others] = line.operands
      const shell = shells.find((one) => one === name)
      if (shell === undefined || others.length > 0) throw new UsageError(`Expecting one of ${shells.join(', ')}`)
      terminal.out(completionScript(shell, programs(), terminal))
      return 0
    },
  }
}
