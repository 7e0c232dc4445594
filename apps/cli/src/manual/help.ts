/** What `COMMAND --help` prints, and the parts of it that lists and manual pages share. */
import type { Terminal } from '@diskgraph/tools'
import type { Command } from '../command.ts'
import { helpOption, type OptionGrammar } from '../command-line.ts'
import { exampleSection, type Row, section } from './layout.ts'
import type { ProgramManual } from './program.ts'
import { meaningsIn } from './words.ts'

/** The help of one command of `program`. */
export function commandHelp(program: ProgramManual, name: string, terminal: Terminal): string {
  const command = program.commands[name] as Command
  const options = optionsOf(program, command)
  const usage = [terminal.program, name, '[OPTIONS]', command.operands].join(' ').trimEnd()
  const words = meaningsIn([command.operands, ...options.map(({ argument = '' }) => argument)])
  return [
    `usage: ${usage}\n${command.summary}\n`,
    section('Options', optionRows(options), terminal),
    section('Words', words, terminal),
    section('Exit codes', Object.entries(command.exitCodes ?? {}), terminal),
    exampleSection('Examples', command.examples, terminal),
  ].join('')
}

/** All options that may stand behind the name of a command. */
export function optionsOf(
  { anywhere = {} }: Pick<ProgramManual, 'anywhere'>,
  { options }: Pick<Command, 'options'>,
): OptionGrammar[] {
  return [...Object.values(options), helpOption, ...Object.values(anywhere)]
}

/** The usage of a command with what it cannot do without. */
export function shortUsage(name: string, { options, operands }: Pick<Command, 'options' | 'operands'>): string {
  const required = Object.values(options).filter((option) => option.required)
  const words = required.map((option) => `${spelling(option)}${valueText(option, option.short === undefined)}`)
  return [name, ...words, operands.replaceAll(/\[\w+=\w+\] /g, '')].join(' ').trimEnd()
}

/** The usage of a command with all of its options, on one line. */
export function synopsis(name: string, { options, operands }: Pick<Command, 'options' | 'operands'>): string {
  const words = Object.values(options).map((option) => {
    const text = `${spelling(option)}${valueText(option, option.short === undefined)}`
    return option.required ? text : `[${text}]`
  })
  return [name, ...words, operands].join(' ').trimEnd()
}

/** One row for each option: how it is written, and what it does. */
export function optionRows(options: readonly OptionGrammar[]): Row[] {
  return options.map((option) => [optionText(option), option.description])
}

/** `-f, --format=FORMAT` */
export function optionText(option: OptionGrammar): string {
  const { short, long } = option
  const indent = short === undefined ? '    ' : ''
  const both = short !== undefined && long !== undefined ? `, --${long}` : ''
  return `${indent}${spelling(option)}${both}${valueText(option, long !== undefined)}`
}

function spelling({ short, long }: OptionGrammar): string {
  return short === undefined ? `--${long}` : `-${short}`
}

function valueText({ argument }: OptionGrammar, isLong: boolean): string {
  return argument === undefined ? '' : `${isLong ? '=' : ' '}${argument}`
}
