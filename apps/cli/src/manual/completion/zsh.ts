import type { Values } from '../words.ts'
import { type CompletedOption, type CompletedPlace, type CompletedProgram, quote } from './place.ts'

/** The script for zsh, which is a file of `$fpath` or is sourced. */
export function zshScript(programs: readonly CompletedProgram[]): string {
  const names = programs.map(({ front }) => front.name).join(' ')
  return `#compdef ${names}
# Completion of ${names.replaceAll(' ', ', ')} for zsh. Put it into a folder of $fpath as _diskgraph.
_diskgraph() {
  local curcontext=$curcontext state line ret=1
  local -a commands
  typeset -A opt_args
  case $service in
${programs.map(programCase).join('')}  esac
  return ret
}
if [[ $funcstack[1] == _diskgraph ]]; then
  _diskgraph "$@"
else
  compdef _diskgraph ${names}
fi
`
}

function programCase({ front, commands }: CompletedProgram): string {
  if (commands.length === 0) return `    ${front.name})\n${argumentsCall(front, 6)}      ;;\n`
  const described = commands.map(
    ({ name, summary }) => `          ${quote(`${name}:${summary.replaceAll(':', '\\:')}`)}\n`,
  )
  const cases = commands.map((one) => `            ${one.name})\n${argumentsCall(one, 14)}              ;;\n`)
  return `    ${front.name})
      _arguments -C \\
${specs(front, 8)}        '1: :->command' \\
        '*:: :->rest' && ret=0
      case $state in
        command)
          commands=(
${described.join('').replaceAll(/^/gm, '  ').trimEnd()}
          )
          _describe command commands && ret=0
          ;;
        rest)
          case $words[1] in
${cases.join('')}          esac
          ;;
      esac
      ;;
`
}

function argumentsCall(place: CompletedPlace, indent: number): string {
  const space = ' '.repeat(indent)
  const operands = place.named.length > 0 ? namedAction(place) : action(place.operands)
  const rest = operands === '' ? `'*: :'` : quote(`*:operand:${operands}`)
  return `${space}_arguments -s -S \\\n${specs(place, indent + 2)}${space}  ${rest} && ret=0\n`
}

/** Keys of operands, and behind each its values. */
function namedAction({ named }: CompletedPlace): string {
  const keys = named.map(({ key, values }) => `${key}\\:value\\:${action(values) || '\\ '}`)
  return `_values -S = operand ${keys.join(' ')}`
}

function specs({ options }: CompletedPlace, indent: number): string {
  return options
    .flatMap(optionSpecs)
    .map((spec) => `${' '.repeat(indent)}${spec} \\\n`)
    .join('')
}

function optionSpecs({ short, long, description, values }: CompletedOption): string[] {
  const text = `[${description.replaceAll(/[[\]:\\]/g, '\\$&')}]`
  const value = values === undefined ? '' : `:value:${action(values) || ' '}`
  const takes = values !== undefined
  return [
    ...(short === undefined ? [] : [quote(`*-${short}${takes ? '+' : ''}${text}${value}`)]),
    ...(long === undefined ? [] : [quote(`*--${long}${takes ? '=' : ''}${text}${value}`)]),
  ]
}

function action(values: Values): string {
  if (values === 'files') return '_files'
  return values.length === 0 ? '' : `(${values.join(' ')})`
}
