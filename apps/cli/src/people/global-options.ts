/** What `diskgraph` reads in the words of every command: how to show things, and short names of formats. */
import { type Terminal, UsageError } from '@diskgraph/tools'
import { formatAliases } from '../drivers.ts'

/** Options that may stand anywhere. */
export const anywhere = {
  progress: {
    long: 'progress',
    argument: 'auto|json|none',
    description: 'a bar on a terminal; JSON lines on standard error; nothing',
  },
  noColor: { long: 'no-color', description: 'no colours, as with the variable NO_COLOR' },
} as const

/** What the words say for every command. */
interface GlobalOptions {
  readonly rest: readonly string[]
  readonly style: Terminal['progressStyle'] | undefined
  readonly color: boolean
}

const progressOption = `--${anywhere.progress.long}=`

/** Takes `--progress=…` and `--no-color` out of the words; they may stand anywhere. */
export function takeGlobalOptions(words: readonly string[]): GlobalOptions {
  let style: Terminal['progressStyle'] | undefined
  let color = true
  const end = words.indexOf('--') < 0 ? words.length : words.indexOf('--')
  const rest = words.filter((word, i) => {
    if (i >= end) return true
    if (word === `--${anywhere.noColor.long}`) color = false
    else if (word.startsWith(progressOption)) style = readProgress(word.slice(progressOption.length))
    else return true
    return false
  })
  return { rest, style, color }
}

function readProgress(value: string): Terminal['progressStyle'] {
  if (value === 'auto' || value === 'json' || value === 'none') return value
  throw new UsageError(`--progress is one of auto, json, none, not '${value}'`)
}

/** The words with the format's own name where an alias stands behind `-f`, `-F` or `-O`. */
export function withFormats(words: readonly string[]): string[] {
  return words.map((word, i) => {
    const attached = /^(-[fFO]|--format=)(.+)$/.exec(word)
    if (attached !== null) return (attached[1] as string) + formatNamed(attached[2] as string)
    return i > 0 && /^(-[fFO]|--format)$/.test(words[i - 1] as string) ? formatNamed(word) : word
  })
}

function formatNamed(name: string): string {
  return Object.hasOwn(formatAliases, name) ? (formatAliases[name] as string) : name
}
