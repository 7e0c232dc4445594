/** Words of a command of the human monitor. */
import { BlockError, describeErrorCode } from '@diskgraph/core'
import { parseSize } from '@diskgraph/core/driver'

/** `qemu-io d0 "read 0 64k"` as three words. A backslash in quotes takes the next sign as it is. */
export function splitWords(line: string): string[] {
  const words: string[] = []
  for (const match of line.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)) {
    const [, quoted, plain] = match
    words.push(quoted === undefined ? (plain as string) : quoted.replace(/\\(.)/g, '$1'))
  }
  return words
}

/** Words that are not those which the command takes. Help may tell more. */
export class WordError extends Error {}

/** What a command takes: its flags, and a letter per word, with `?` where it may be left out; `*`: whatever comes. */
export interface Grammar {
  /** `nf`: -n and -f. */
  readonly flags?: string
  /** `B s o?`: a device, a text, a size. See {@link kinds}. */
  readonly takes: string
}

/** Kinds of words, and what is said of one that is missing. */
const kinds: Readonly<Record<string, string>> = {
  B: 'block device name expected',
  F: 'filename expected',
  s: 'string expected',
}

/** The words behind the name of a command. Throws a {@link WordError} for what `grammar` does not know. */
export function parseWords(
  name: string,
  words: readonly string[],
  { flags: known = '', takes }: Grammar,
): { readonly flags: ReadonlySet<string>; readonly rest: readonly string[] } {
  const flags = new Set<string>()
  let at = 0
  for (; known !== '' && words[at]?.startsWith('-') && words[at] !== '-'; at++) {
    for (const flag of (words[at] as string).slice(1)) {
      if (!known.includes(flag)) throw new WordError(`${name}: unsupported option -${flag}`)
      flags.add(flag)
    }
  }
  const rest = words.slice(at)
  const expected = takes.split(' ').filter((one) => one !== '')
  if (expected.includes('*')) return { flags, rest }
  for (const [i, one] of expected.entries()) checkWord(name, one, rest[i])
  if (rest.length > expected.length) throw new WordError(`${name}: extraneous characters at the end of line`)
  return { flags, rest }
}

function checkWord(name: string, expected: string, word: string | undefined): void {
  const [kind = '', optional] = expected
  if (word === undefined && optional === '?') return
  if (kind === 'o') {
    if (word === undefined || parseSize(word) === undefined) throw new WordError('invalid size')
  } else if (kind === 'l') {
    if (word === undefined) throw new WordError('unexpected end of expression')
    const [wrong] = /^[^\d+-]|(?<=.)\D/.exec(word.replace(/^0x[\da-f]+$/i, '0')) ?? []
    if (wrong !== undefined) throw new WordError(`invalid char '${wrong}' in expression`)
  } else if (word === undefined) throw new WordError(`${name}: ${kinds[kind]}`)
}

/** A size whose unit is MiB where it has none. EINVAL for what is none. */
export function sizeInMebibytes(word: string): number {
  const size = parseSize(/^\d+$/.test(word) ? `${word}M` : word)
  if (size === undefined) throw new BlockError('EINVAL', `invalid size: ${describeErrorCode('EINVAL')}`)
  return size
}
