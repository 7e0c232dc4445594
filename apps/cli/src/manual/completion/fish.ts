import type { Values } from '../words.ts'
import type { CompletedOption, CompletedPlace, CompletedProgram } from './place.ts'

/** The script for fish. */
export function fishScript(programs: readonly CompletedProgram[]): string {
  const names = programs.map(({ front }) => front.name)
  return `# Completion of ${names.join(', ')} for fish. Put it into ~/.config/fish/conf.d.
${programs.flatMap(programLines).join('\n')}
`
}

function programLines({ front, commands }: CompletedProgram): string[] {
  const { name: program } = front
  if (commands.length === 0) return optionLines(program, front, undefined)
  const names = commands.map(({ name }) => name).join(' ')
  const first = `not __fish_seen_subcommand_from ${names}`
  return [
    line(program, first, ['-f']),
    ...optionLines(program, front, first),
    ...commands.flatMap((one) => [
      line(program, first, ['-f', '-a', one.name, '-d', quote(one.summary)]),
      ...commandLines(program, one),
    ]),
  ]
}

function commandLines(program: string, place: CompletedPlace): string[] {
  const here = `__fish_seen_subcommand_from ${place.name}`
  const { named, operands } = place
  const words = named.length > 0 ? named.map(({ key }) => `${key}=`) : operands
  const offered = words === 'files' ? [] : [line(program, here, ['-f', ...wordList(words)])]
  return [...offered, ...optionLines(program, place, here)]
}

function optionLines(program: string, { options }: CompletedPlace, here: string | undefined): string[] {
  return options.map((option) => line(program, here, [...optionWords(option), '-d', quote(option.description)]))
}

function optionWords({ short, long, values }: CompletedOption): string[] {
  const spelling = [...(short === undefined ? [] : ['-s', short]), ...(long === undefined ? [] : ['-l', long])]
  if (values === undefined) return spelling
  return values === 'files' ? [...spelling, '-r', '-F'] : [...spelling, '-x', ...wordList(values)]
}

function wordList(values: Exclude<Values, 'files'>): string[] {
  return values.length === 0 ? [] : ['-a', quote(values.join(' '))]
}

function line(program: string, here: string | undefined, words: readonly string[]): string {
  return ['complete', '-c', program, ...(here === undefined ? [] : ['-n', quote(here)]), ...words].join(' ')
}

function quote(text: string): string {
  return `'${text.replaceAll(/['\\]/g, '\\$&')}'`
}
