/** Manual pages in the language of man(7), from the tables of the programs. */
import type { Command, CommandExample } from '../command.ts'
import type { OptionGrammar } from '../command-line.ts'
import { version } from '../version.ts'
import { optionsOf, synopsis } from './help.ts'
import type { ProgramManual, TypedCommand } from './program.ts'
import { meaningsIn } from './words.ts'

/** The page of `program` for section 1. `all` are the programs that it refers to. */
export function manPage(program: ProgramManual, all: readonly ProgramManual[]): string {
  const { name, summary, usage, about, options, anywhere = {}, commands, typed = [], examples = [] } = program
  const own = [...Object.values(options), ...Object.values(anywhere)]
  const entries = Object.entries(commands)
  const used = [...own, ...entries.flatMap(([, one]) => Object.values(one.options))].map(
    ({ argument = '' }) => argument,
  )
  const others = all.filter((one) => one.name !== name)
  return [
    `.TH ${name.toUpperCase()} 1 "" "diskgraph ${version}" "diskgraph"\n`,
    `.SH NAME\n${text(name)} \\- ${text(summary)}\n`,
    `.SH SYNOPSIS\n.B ${text(name)}\n${text(usage)}\n`,
    `.SH DESCRIPTION\n${about.map(text).join('\n.PP\n')}\n`,
    `.SH OPTIONS\n${own.map(optionEntry).join('')}`,
    ...(entries.length + typed.length === 0 ? [] : ['.SH COMMANDS\n']),
    ...entries.map(([command, one]) => commandPart(program, command, one)),
    ...typed.map(typedPart),
    `.SH WORDS\n${meaningsIn(used)
      .map(([word, meaning]) => tagged(bold(word), meaning))
      .join('')}`,
    examplePart('.SH EXAMPLES', name, examples),
    `.SH EXIT STATUS\n0 for success and 1 for an error, unless a command says otherwise.\n`,
    '130 and 143 follow an interruption.\n',
    `.SH ENVIRONMENT\n${environment.map(([tag, what]) => tagged(bold(tag), what)).join('')}`,
    `.SH FILES\n${tagged('\\fI~/.config/diskgraph/config.json\\fR', configuration)}`,
    `.SH SEE ALSO\n${others.map((one) => `.BR ${text(one.name)} (1)`).join(',\n')}\n`,
  ].join('')
}

const environment = [
  ['NO_COLOR', 'no colours in the output of diskgraph'],
  ['XDG_CONFIG_HOME', 'the folder in which diskgraph/config.json is looked for, in place of ~/.config'],
] as const

const configuration =
  'enables drivers for every run: {"drivers": ["example", "./my-driver/index.js"]}. Names and paths are those of --driver; paths are relative to the folder of this file.'

function commandPart(program: ProgramManual, name: string, command: Command): string {
  const codes = Object.entries(command.exitCodes ?? {}).map(([code, what]) => tagged(`exit code ${code}`, what))
  return [
    `.SS ${text(name)}\n${text(command.summary)}\n`,
    `.PP\n${bold(name)} ${text(synopsis(name, command).slice(name.length + 1))}\n`,
    ...optionsOf({}, command).map(optionEntry),
    ...codes,
    examplePart('.PP\nExamples:', program.name, command.examples),
  ].join('')
}

function typedPart({ name, alias, synopsis: words = '', summary, help = '' }: TypedCommand): string {
  const names = alias === undefined ? name : `${name}, ${alias}`
  return `.SS ${text(names)}\n${text(summary)}\n${literal([`${name} ${words}`.trimEnd(), ...help.split('\n')])}`
}

function examplePart(title: string, program: string, examples: readonly CommandExample[]): string {
  if (examples.length === 0) return ''
  return `${title}\n${examples.map(([line, what]) => tagged(bold(`${program} ${line}`), what)).join('')}`
}

function optionEntry({ short, long, argument, description }: OptionGrammar): string {
  const spellings = [short === undefined ? [] : bold(`-${short}`), long === undefined ? [] : bold(`--${long}`)].flat()
  const value = argument === undefined ? '' : `${long === undefined ? ' ' : '='}\\fI${text(argument)}\\fR`
  return tagged(spellings.join(', ') + value, description)
}

function tagged(tag: string, what: string): string {
  return `.TP\n${tag}\n${text(what)}\n`
}

function bold(words: string): string {
  return `\\fB${text(words)}\\fR`
}

/** Lines that keep their shape. */
function literal(lines: readonly string[]): string {
  return `.PP\n.nf\n${lines.map(text).join('\n').trim()}\n.fi\n`
}

/** `words` with nothing in them that formats. A line that would begin with a point or an apostrophe is no request. */
function text(words: string): string {
  return words
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^(?=[.'])/gm, '\\&')
}
