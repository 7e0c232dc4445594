import type { Values } from '../words.ts'
import { type CompletedPlace, type CompletedProgram, quote, spellings } from './place.ts'

/**
 * The script for bash. Bash cuts words at `=`, so the value of `--output=json` is a word of its own behind a `=`.
 * `words` are what is offered, `files` stands for names of files, nothing for what cannot be guessed.
 */
export function bashScript(programs: readonly CompletedProgram[]): string {
  const names = programs.map(({ front }) => front.name)
  return `# Completion of ${names.join(', ')} for bash. Source it in ~/.bashrc.
_diskgraph() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD - 1]}
  local program=\${COMP_WORDS[0]##*/} command='' words='' at
  COMPREPLY=()
  if [[ $current == '=' ]]; then current=''
  elif [[ $previous == '=' ]]; then previous=\${COMP_WORDS[COMP_CWORD - 2]}
  fi
  for ((at = 1; at < COMP_CWORD; at++)); do
    case \${COMP_WORDS[at]} in
      --driver | --trace | -T)
        [[ \${COMP_WORDS[at + 1]} == '=' ]] && ((at++))
        ((at++))
        ;;
      -* | '=') ;;
      *)
        command=\${COMP_WORDS[at]}
        break
        ;;
    esac
  done
  case "$program $command" in
${programs.flatMap(programCases).join('')}    *) words=files ;;
  esac
  if [[ $words == files ]]; then
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  elif [[ -n $words ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    [[ \${COMPREPLY[0]} == *= ]] && compopt -o nospace
  fi
}
complete -F _diskgraph ${names.join(' ')}
`
}

function programCases({ front, commands }: CompletedProgram): string[] {
  // A program without commands takes its first operand for one.
  if (commands.length === 0) return [placeCase(`${front.name} `, front, front.operands, '*')]
  const names = commands.map(({ name }) => name)
  return [
    placeCase(`${front.name} `, front, names),
    ...commands.map((one) => placeCase(`${front.name} ${one.name}`, one, one.operands)),
  ]
}

function placeCase(key: string, { options, named }: CompletedPlace, operands: Values, more = ''): string {
  const values = [
    ...options.flatMap((option) =>
      option.values === undefined ? [] : [valueCase(spellings(option).join(' | '), option.values)],
    ),
    ...named.map((one) => valueCase(one.key, one.values)),
  ]
  const all = options.flatMap((option) =>
    spellings(option).map((word) => (word.startsWith('--') && option.values !== undefined ? `${word}=` : word)),
  )
  const keys = named.map((one) => `${one.key}=`)
  const offered = keys.length > 0 ? keys : operands
  return `    ${quote(key)}${more})
      case $previous in
${values.join('')}        *)
          words=${wordList(offered)}
          [[ $current == -* ]] && words=${quote(all.join(' '))}
          ;;
      esac
      ;;
`
}

function valueCase(pattern: string, values: Values): string {
  return `        ${pattern}) words=${wordList(values)} ;;\n`
}

function wordList(values: Values): string {
  return values === 'files' ? 'files' : quote(values.join(' '))
}
