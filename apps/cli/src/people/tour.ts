/** `tour`: the commands at work, on files in a temporary folder that is removed in the end. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CommandError, type Terminal, UsageError } from '@diskgraph/tools'
import type { Command } from '../command.ts'
import { runIo } from '../io/main.ts'
import type { Program } from '../main.ts'
import { styleFor } from '../style.ts'
import { typedLine } from './advice.ts'

/** One thing that the tour shows: a sentence and command lines as they are typed. */
interface Step {
  readonly what: string
  readonly lines: readonly (readonly string[])[]
  /** The exit code that the last line has, where it is not 0. */
  readonly code?: number
}

const steps: readonly Step[] = [
  {
    what: 'A base image: 64 MiB that take up almost nothing',
    lines: [['diskgraph', 'create', '-f', 'qcow2', 'base.qcow2', '64M']],
  },
  {
    what: 'Data in it: 2 MiB of 0x11, 1 MiB of 0x22',
    lines: [['dg-io', '-c', 'write -P 0x11 0 2M', '-c', 'write -P 0x22 16M 1M', 'base.qcow2']],
  },
  {
    what: 'An overlay: it shows the base until it is written to',
    lines: [
      ['diskgraph', 'create', '-f', 'qcow2', '-b', 'base.qcow2', '-F', 'qcow2', 'overlay.qcow2'],
      ['dg-io', '-c', 'write -P 0x33 1M 64k', '-c', 'read -P 0x11 0 1M', '-c', 'read -P 0x33 1M 64k', 'overlay.qcow2'],
      ['diskgraph', 'tree', 'overlay.qcow2'],
    ],
  },
  {
    what: 'A snapshot inside the overlay, a change after it, and back again',
    lines: [
      ['diskgraph', 'snapshot', '-c', 'before', 'overlay.qcow2'],
      ['dg-io', '-c', 'write -P 0x44 1M 64k', 'overlay.qcow2'],
      ['diskgraph', 'snapshot', '-a', 'before', 'overlay.qcow2'],
      ['dg-io', '-c', 'read -P 0x33 1M 64k', 'overlay.qcow2'],
      ['diskgraph', 'snapshot', '-l', 'overlay.qcow2'],
    ],
  },
  {
    what: 'Is all of it sound?',
    lines: [['diskgraph', 'check', 'overlay.qcow2']],
  },
  {
    what: 'One file out of the chain, compressed',
    lines: [
      ['diskgraph', 'convert', '-c', '-O', 'qcow2', 'overlay.qcow2', 'copy.qcow2'],
      ['diskgraph', 'info', 'copy.qcow2'],
    ],
  },
  {
    what: 'The copy has the same content; the base has not',
    lines: [
      ['diskgraph', 'compare', 'overlay.qcow2', 'copy.qcow2'],
      ['diskgraph', 'compare', 'overlay.qcow2', 'base.qcow2'],
    ],
    code: 1,
  },
  {
    what: 'Which layer holds what',
    lines: [['diskgraph', 'map', 'overlay.qcow2']],
  },
]

/** Runs the steps, each as a person would type it. */
export function tourCommand(runDiskgraph: Program): Command {
  return {
    group: 'other',
    summary: 'all of this on files in a temporary folder',
    operands: '',
    options: {},
    examples: [['tour', 'takes a second and leaves nothing behind']],
    async run(words: readonly string[], terminal: Terminal): Promise<number> {
      if (words.length > 0) throw new UsageError(`Unexpected argument: ${words[0]}`)
      const style = styleFor(terminal)
      const folder = await mkdtemp(join(tmpdir(), 'diskgraph-tour-'))
      const before = process.cwd()
      try {
        process.chdir(folder)
        for (const [i, step] of steps.entries()) {
          terminal.out(`\n${style.bold(`${i + 1}. ${step.what}`)}\n`)
          await runStep(step, runDiskgraph, terminal)
        }
        terminal.out(`\n${style.dim("The files are gone again. 'diskgraph --help' lists the commands.")}\n`)
        return 0
      } finally {
        process.chdir(before)
        await rm(folder, { recursive: true, force: true })
      }
    },
  }
}

async function runStep({ lines, code: expected = 0 }: Step, runDiskgraph: Program, terminal: Terminal): Promise<void> {
  const style = styleFor(terminal)
  for (const [i, line] of lines.entries()) {
    if (terminal.signal.aborted) throw terminal.signal.reason
    terminal.out(`${style.cyan(`$ ${typedLine(line)}`)}\n`)
    const code = await runLine(line, runDiskgraph, terminal)
    if (code !== (i === lines.length - 1 ? expected : 0)) {
      throw new CommandError(`the tour ends here: '${typedLine(line)}' has the exit code ${code}`)
    }
  }
}

async function runLine(
  [program = '', ...words]: readonly string[],
  runDiskgraph: Program,
  terminal: Terminal,
): Promise<number> {
  const shown = { ...terminal, program }
  if (program === 'dg-io') {
    return runIo(words, { ...shown, forPeople: false })
  }
  return runDiskgraph(words, shown)
}
