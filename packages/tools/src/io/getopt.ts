/**
 * The C library's getopt_long, whose messages people know from this tool: short options cluster and take a value
 * attached or as the next word, long ones may be abbreviated, `--` ends them, operands may stand anywhere.
 */

/** A long option: the letter that it stands for, and whether it takes a value. */
interface LongOption {
  readonly letter: string
  readonly argument?: boolean
}

/** An option as it was given. */
interface Option {
  readonly letter: string
  readonly value: string
}

/** Options in their order, and the words that are none. */
export interface Parsed {
  readonly options: readonly Option[]
  readonly operands: readonly string[]
}

/** A command line that getopt refuses; the message is getopt's, behind `<name>: `. */
export class GetoptError extends Error {}

/** Letters as getopt wants them (`bP:` – b without, P with a value), and long names if there are any. */
export interface GetoptGrammar {
  readonly letters: string
  readonly long?: Readonly<Record<string, LongOption>>
}

/** Reads the words behind a program's or a command's name. */
export function parseOptions(words: readonly string[], grammar: GetoptGrammar): Parsed {
  const options: Option[] = []
  const operands: string[] = []
  for (let at = 0; at < words.length; ) {
    const word = words[at++] as string
    if (word === '--') {
      operands.push(...words.slice(at))
      break
    }
    if (word.startsWith('--') && grammar.long !== undefined) at += takeLong(word, words[at], grammar.long, options)
    else if (word.startsWith('-') && word.length > 1) at += takeShort(word, words[at], grammar.letters, options)
    else operands.push(word)
  }
  return { options, operands }
}

/** Both functions say how many further words they took. */
function takeShort(word: string, next: string | undefined, letters: string, options: Option[]): number {
  for (let i = 1; i < word.length; i++) {
    const letter = word[i] as string
    const at = letter === ':' ? -1 : letters.indexOf(letter)
    if (at < 0) throw new GetoptError(`invalid option -- '${letter}'`)
    if (letters[at + 1] !== ':') {
      options.push({ letter, value: '' })
      continue
    }
    const attached = word.slice(i + 1)
    if (attached === '' && next === undefined) throw new GetoptError(`option requires an argument -- '${letter}'`)
    options.push({ letter, value: attached === '' ? (next as string) : attached })
    return attached === '' ? 1 : 0
  }
  return 0
}

function takeLong(
  word: string,
  next: string | undefined,
  long: Readonly<Record<string, LongOption>>,
  options: Option[],
): number {
  const equals = word.indexOf('=')
  const given = equals < 0 ? word.slice(2) : word.slice(2, equals)
  const candidates = Object.hasOwn(long, given) ? [given] : Object.keys(long).filter((name) => name.startsWith(given))
  const [name] = candidates
  if (name === undefined) throw new GetoptError(`unrecognized option '--${given}'`)
  if (candidates.length > 1) {
    const list = candidates.map((candidate) => `'--${candidate}'`).join(' ')
    throw new GetoptError(`option '--${given}' is ambiguous; possibilities: ${list}`)
  }
  const { letter, argument } = long[name] as LongOption
  if (!argument) {
    if (equals >= 0) throw new GetoptError(`option '--${name}' doesn't allow an argument`)
    options.push({ letter, value: '' })
    return 0
  }
  if (equals < 0 && next === undefined) throw new GetoptError(`option '--${name}' requires an argument`)
  options.push({ letter, value: equals < 0 ? (next as string) : word.slice(equals + 1) })
  return equals < 0 ? 1 : 0
}
