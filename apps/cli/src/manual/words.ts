/** The words in capitals of help texts: what stands for them on a command line. */
import type { Terminal } from '@diskgraph/tools'
import { cacheModeNames } from '@diskgraph/tools'
import { drivers } from '../driver-table.ts'
import { formatAliases } from '../drivers.ts'

/** What a word in capitals stands for. */
interface Word {
  readonly meaning: string
  /** What completion offers. */
  readonly values?: Values
}

/** Names of files, or the values themselves. */
export type Values = 'files' | readonly string[]

const words: Readonly<Record<string, Word>> = {
  FILE: {
    meaning:
      'a path, a name such as json:{...} or http://...; with --image-opts a list driver=qcow2,file.filename=a.img',
    values: 'files',
  },
  PATH: { meaning: 'a file of this machine; no name with a protocol', values: 'files' },
  FORMAT: { meaning: 'the format of an image; without one it is guessed, which is not safe for raw images' },
  SIZE: { meaning: 'bytes, or with one of the suffixes k M G T P E (powers of 1024)' },
  OPTIONS: { meaning: "a list name=value,name=value; '-o help' shows what a format has" },
  CACHE: { meaning: cacheModeNames.join(', '), values: cacheModeNames },
  DEF: { meaning: 'an object: secret,id=NAME,file=FILE, secret,id=NAME,data=TEXT, or TLS credentials' },
  SNAPSHOT: { meaning: 'an id or a name, or snapshot.id=ID,snapshot.name=NAME' },
  DRIVER: {
    meaning: 'the name of a package installed beside the tool, or a path, which contains a /',
    values: 'files',
  },
}

/** The words that occur in `texts`, with their meanings. */
export function meaningsIn(texts: readonly string[]): (readonly [word: string, meaning: string])[] {
  const found = new Set(texts.flatMap((text) => text.match(/\b[A-Z]+\b/g) ?? []))
  return Object.entries(words).flatMap(([word, { meaning }]) => (found.has(word) ? [[word, meaning] as const] : []))
}

/** What may stand where help says `argument`: the choices of `a|b`, or the values of a word; empty where that is open. */
export function valuesOf(argument: string, known: Pick<Terminal, 'enabled' | 'forPeople'>): Values {
  if (argument.includes('|')) return argument.split('|')
  return argument === 'FORMAT' ? formatNames(known) : (words[argument]?.values ?? [])
}

/** The names that `-f` takes; people have shorter ones, too. */
export function formatNames({ enabled = [], forPeople }: Pick<Terminal, 'enabled' | 'forPeople'>): string[] {
  const names = new Set([...drivers, ...enabled].flatMap(({ name, kind }) => (kind === 'format' ? [name] : [])))
  const aliases = Object.entries(formatAliases).filter(([, format]) => forPeople && names.has(format))
  return [...names, ...aliases.map(([alias]) => alias)].sort()
}
