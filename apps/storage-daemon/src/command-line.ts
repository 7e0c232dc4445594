/** The command line, read as getopt_long reads it: options in order, a value behind `=` or as the next word. */
import { StartError } from './failure.ts'

/** An option with its value, where it has one. */
export interface GivenOption {
  readonly name: string
  readonly value: string
  /** How messages name it. Default: as on the command line. */
  readonly spelled?: string
}

/** The options, by whether they take a value, in the order of the help. */
const grammar: Readonly<Record<string, boolean>> = {
  help: false,
  version: false,
  trace: true,
  'add-fd': true,
  blockdev: true,
  chardev: true,
  config: true,
  console: true,
  daemonize: false,
  demo: true,
  drive: true,
  export: true,
  log: true,
  metrics: true,
  monitor: true,
  'nbd-server': true,
  object: true,
  pidfile: true,
  'allow-tcp': false,
  'allow-references': false,
}

/** The names of all options, and whether they take a value. */
export const optionNames: ReadonlyMap<string, boolean> = new Map(Object.entries(grammar))

const short: Readonly<Record<string, string>> = { h: 'help', V: 'version', T: 'trace' }

/** The options of `words`. Throws for what is none. */
export function parseCommandLine(words: readonly string[]): GivenOption[] {
  const given: GivenOption[] = []
  for (let at = 0; at < words.length; at++) {
    const word = words[at] as string
    if (!word.startsWith('-') || word === '-') throw new StartError(`${word}: Unexpected argument`)
    const equals = word.indexOf('=')
    const spelled = equals < 0 ? word : word.slice(0, equals)
    const name = spelled.startsWith('--') ? longName(spelled) : shortName(spelled)
    if (!grammar[name]) {
      if (equals >= 0) throw new StartError(`option '--${name}' doesn't allow an argument`)
      given.push({ name, value: '' })
    } else if (equals >= 0) given.push({ name, value: word.slice(equals + 1) })
    else {
      const value = words[++at]
      if (value === undefined) throw new StartError(`option '--${name}' requires an argument`)
      given.push({ name, value })
    }
  }
  return given
}

function shortName(spelled: string): string {
  const name = short[spelled.slice(1)]
  if (name === undefined) throw new StartError(`invalid option -- '${spelled.slice(1)}'`)
  return name
}

/** A name that begins like one option only stands for it. */
function longName(spelled: string): string {
  const begin = spelled.slice(2)
  if (Object.hasOwn(grammar, begin)) return begin
  const names = Object.keys(grammar).filter((name) => name.startsWith(begin))
  if (names.length === 1) return names[0] as string
  if (names.length === 0) throw new StartError(`unrecognized option '${spelled}'`)
  throw new StartError(
    `option '${spelled}' is ambiguous; possibilities: ${names.map((name) => `'--${name}'`).join(' ')}`,
  )
}
