/**
 * Command lines by the rules of getopt_long, which QEMU's tools use: options may stand behind operands, `--` ends
 * them, short ones cluster (`-pq`) and take a value attached or as the next word, long ones may be abbreviated and take
 * `=value` or the next word.
 *
 * Options are yielded in their order, so that a command can judge each as it comes and the first thing that is wrong
 * is the one that is reported. `operands` are complete when the iteration has ended.
 */

import { nearestName } from '@diskgraph/core/internal'
import { type GetoptGrammar, HelpRequested, UsageError } from '@diskgraph/tools'

/** One option of a command. */
export interface OptionGrammar {
  /** One letter. */
  readonly short?: string
  /** Without its dashes. */
  readonly long?: string
  /** What help calls its value: a word of `words.ts`, or the choices with `|` between them. Without it there is no value. */
  readonly argument?: string
  /** What it does: a phrase. */
  readonly description: string
  /** The command needs it; for help alone, as each command words this error itself. */
  readonly required?: boolean
}

/** Every command has it. */
export const helpOption: OptionGrammar = { short: 'h', long: 'help', description: 'show this help' }

/** The options of a command by the names that its code uses. */
export type Grammar<Name extends string = string> = Readonly<Record<Name, OptionGrammar>>

/** An option as it was given; `value` is empty for one that takes none. */
export interface GivenOption<Name extends string> {
  readonly name: Name
  readonly value: string
}

/** See the top of the file. */
export class CommandLine<Name extends string> implements Iterable<GivenOption<Name>> {
  readonly operands: string[] = []
  readonly #grammar: [Name, OptionGrammar][]
  readonly #words: readonly string[]
  #at = 0

  constructor(grammar: Grammar<Name>, words: readonly string[]) {
    this.#grammar = Object.entries(grammar) as [Name, OptionGrammar][]
    this.#words = words
  }

  *[Symbol.iterator](): Iterator<GivenOption<Name>> {
    while (this.#at < this.#words.length) {
      const word = this.#words[this.#at++] as string
      if (word === '--') {
        this.operands.push(...this.#words.slice(this.#at))
        return
      }
      if (word.startsWith('--')) yield this.#long(word)
      else if (word.startsWith('-') && word.length > 1) yield* this.#short(word)
      else this.operands.push(word)
    }
  }

  #long(word: string): GivenOption<Name> {
    const equals = word.indexOf('=')
    const name = equals < 0 ? word.slice(2) : word.slice(2, equals)
    const [key, option] = this.#longNamed(name, word)
    if (!option.argument) {
      if (equals >= 0) throw unrecognized(word)
      return { name: key, value: '' }
    }
    return { name: key, value: equals < 0 ? this.#next(word) : word.slice(equals + 1) }
  }

  /** The option whose name is `name`, or the only one that begins so. */
  #longNamed(name: string, word: string): [Name, OptionGrammar] {
    const named = this.#grammar.filter(([, { long }]) => long?.startsWith(name))
    const found = named.find(([, { long }]) => long === name) ?? (named.length === 1 ? named[0] : undefined)
    if (found !== undefined) return found
    if (name === 'driver') throw new UsageError("'--driver' stands before the command")
    if (helpOption.long?.startsWith(name) && name !== '' && named.length === 0) throw new HelpRequested()
    const known = this.#grammar.flatMap(([, { long }]) => (long === undefined ? [] : [long]))
    throw unrecognized(word, nearestName(name, known))
  }

  *#short(word: string): Iterable<GivenOption<Name>> {
    for (let i = 1; i < word.length; i++) {
      const letter = word[i] as string
      const found = this.#grammar.find(([, { short }]) => short === letter)
      if (found === undefined) {
        if (letter === helpOption.short) throw new HelpRequested()
        throw unrecognized(word)
      }
      const [name, { argument }] = found
      if (argument) {
        const rest = word.slice(i + 1)
        yield { name, value: rest === '' ? this.#next(word) : rest }
        return
      }
      yield { name, value: '' }
    }
  }

  /** Whether the words ask for help before they go wrong. */
  asksForHelp(): boolean {
    try {
      for (const _ of this);
      return false
    } catch (error) {
      return error instanceof HelpRequested
    }
  }

  #next(word: string): string {
    if (this.#at >= this.#words.length) throw new UsageError(`missing argument for option '${word}'`)
    return this.#words[this.#at++] as string
  }
}

function unrecognized(word: string, near?: string): UsageError {
  return new UsageError(
    `unrecognized option '${word}'`,
    near === undefined ? {} : { hint: `did you mean '--${near}'?` },
  )
}

/** `grammar` in getopt's words. An option that has only a long name goes by it. */
export function getoptGrammar(grammar: Grammar): GetoptGrammar {
  const options = Object.values(grammar)
  const letters = options.map(({ short = '', argument }) => short + (short !== '' && argument !== undefined ? ':' : ''))
  const long = options.flatMap(({ short, long: name, argument }) =>
    name === undefined ? [] : [[name, { letter: short ?? name, argument: argument !== undefined }] as const],
  )
  return { letters: letters.join(''), long: Object.fromEntries(long) }
}
