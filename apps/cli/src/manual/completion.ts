/** Completion scripts: what can stand where, from the tables of the programs, in the language of a shell. */
import type { Terminal } from '@diskgraph/tools'
import type { OptionGrammar } from '../command-line.ts'
import { bashScript } from './completion/bash.ts'
import { fishScript } from './completion/fish.ts'
import type { CompletedOption, CompletedPlace, CompletedProgram } from './completion/place.ts'
import { zshScript } from './completion/zsh.ts'
import { optionsOf } from './help.ts'
import type { ProgramManual } from './program.ts'
import { valuesOf } from './words.ts'

const scripts = { bash: bashScript, zsh: zshScript, fish: fishScript } as const

/** A script for `programs`. It knows the drivers that are enabled when it is made. */
export function completionScript(
  shell: keyof typeof scripts,
  programs: readonly ProgramManual[],
  terminal: Terminal,
): string {
  return scripts[shell](programs.map((program) => completed(program, terminal)))
}

function completed(program: ProgramManual, { enabled }: Pick<Terminal, 'enabled'>): CompletedProgram {
  const { name, options, anywhere = {}, commands, typed = [], forPeople } = program
  const names = Object.entries(commands)
  const known = { enabled, forPeople, typed: typed.map((one) => one.name) }
  const own = [...Object.values(options), ...Object.values(anywhere)]
  return {
    front: { name, summary: '', ...place(own, names.length === 0 ? 'FILE' : '', known) },
    commands: names.map(([command, one]) => {
      return { name: command, summary: one.summary, ...place(optionsOf(program, one), one.operands, known) }
    }),
  }
}

type Known = Pick<Terminal, 'enabled' | 'forPeople'> & { readonly typed: readonly string[] }

function place(
  options: readonly OptionGrammar[],
  operands: string,
  known: Known,
): Omit<CompletedPlace, 'name' | 'summary'> {
  const keys = [...operands.matchAll(/\b([a-z]+)=([A-Z]+)/g)]
  return {
    options: options.map((option) => completedOption(option, known)),
    named: keys.map(([, key = '', word = '']) => ({ key, values: valuesOf(word, known) })),
    operands: /[A-Z]/.test(operands) ? 'files' : operands.split('|'),
  }
}

function completedOption({ short, long, description, argument }: OptionGrammar, known: Known): CompletedOption {
  const values = argument === 'COMMAND' ? known.typed : argument && valuesOf(argument, known)
  return { short, long, description, values: values || undefined }
}
