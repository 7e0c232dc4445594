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

/** The flags at the start of `words` (`-n -f` or `-nf`), and what is behind them. EINVAL for one that is not among `known`. */
export function takeFlags(
  words: readonly string[],
  known: string,
): { readonly flags: ReadonlySet<string>; readonly rest: readonly string[] } {
  const flags = new Set<string>()
  let at = 0
  for (; words[at]?.startsWith('-') && words[at] !== '-'; at++) {
    for (const flag of (words[at] as string).slice(1)) {
      if (!known.includes(flag)) throw new BlockError('EINVAL', `unsupported option -${flag}`)
      flags.add(flag)
    }
  }
  return { flags, rest: words.slice(at) }
}

/** A size whose unit is MiB where it has none. EINVAL for what is none. */
export function sizeInMebibytes(word: string): number {
  const size = parseSize(/^\d+$/.test(word) ? `${word}M` : word)
  if (size === undefined) throw new BlockError('EINVAL', `invalid size: ${describeErrorCode('EINVAL')}`)
  return size
}
