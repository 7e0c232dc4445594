/**
 * JSON as QEMU reads it in `json:` names: strings in single quotes, too, no key twice, a limit of depth.
 * Texts of errors are QEMU's, found by running the tools.
 */
import { BlockError } from '../errors.ts'

/** How deep options may nest; QEMU's limit for JSON. */
export const deepestOptions = 1024

/** How many tokens a text may have; QEMU's limit for JSON. */
const mostTokens = 2 ** 21

/** The start of a string: its quote, plain characters and escapes. A control character ends it. */
const [double, single] = [
  /"[ !#-[\]-\u{10ffff}]*(?:\\[ -\u{10ffff}][ !#-[\]-\u{10ffff}]*)*/u,
  /'[ -&(-[\]-\u{10ffff}]*(?:\\[ -\u{10ffff}][ -&(-[\]-\u{10ffff}]*)*/u,
]

/** A token by its first character; the longest that there can be, so what breaks off is found by what follows. */
const patterns: Readonly<Record<Kind, RegExp>> = {
  space: /[ \t\r\n]+/y,
  mark: /[{}[\]:,]/y,
  text: new RegExp(`${double.source}"|${single.source}'`, 'uy'),
  /** A number that breaks off, with the character at which it does. */
  half: /-?(?:0\d|(?:0|[1-9]\d*)(?:\.(?!\d)|(?:\.\d+)?[eE](?:[+-](?!\d)|(?![+\-\d]))).?|(?<=-)(?!\d).?)/suy,
  number: /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y,
  word: /[a-z]+/y,
  stray: new RegExp(`(?:${double.source}|${single.source})\\\\?.?|.`, 'suy'),
}

type Kind = 'space' | 'mark' | 'text' | 'half' | 'number' | 'word' | 'stray'

/** Kinds that a token may be of, in the order in which they are tried. */
const kinds: Readonly<Record<'quote' | 'digit' | 'letter' | 'mark' | 'space' | 'other', readonly Kind[]>> = {
  quote: ['text', 'stray'],
  digit: ['half', 'number'],
  letter: ['word'],
  mark: ['mark'],
  space: ['space'],
  other: ['stray'],
}

function kindsAt(text: string, at: number): readonly Kind[] {
  const first = text[at] as string
  if ('{}[]:,'.includes(first)) return kinds.mark
  if (first === '"' || first === "'") return kinds.quote
  if ((first >= '0' && first <= '9') || first === '-') return kinds.digit
  if (first >= 'a' && first <= 'z') return kinds.letter
  return ' \t\r\n'.includes(first) ? kinds.space : kinds.other
}

/** The tokens of a text one after the other, without spaces. */
class Lexer {
  readonly #source: string
  /** Where the next token begins, at the earliest. */
  at = 0
  kind: Kind = 'space'
  text = ''

  constructor(source: string) {
    this.#source = source
  }

  /** Goes to the next token; false at the end. Throws at what is none. */
  next(): boolean {
    do {
      if (this.at === this.#source.length) return false
      this.#take()
    } while (this.kind === 'space')
    if (this.kind === 'stray' || this.kind === 'half') throw failure(`stray '${this.text}'`)
    return true
  }

  #take(): void {
    for (const kind of kindsAt(this.#source, this.at)) {
      const pattern = patterns[kind]
      pattern.lastIndex = this.at
      const found = pattern.exec(this.#source)
      if (found === null) continue
      this.kind = kind
      this.text = found[0]
      this.at = pattern.lastIndex
      return
    }
  }
}

/** The value of a text. EINVAL, worded as QEMU words it. */
export function parseJson(text: string): unknown {
  const end = endOfValue(text)
  const value = new Parser(text.slice(0, end)).value()
  if (/[^ \t\r\n]/.test(text.slice(end))) throw refusal('Expecting at most one JSON value')
  return value
}

/** Where the first value of `text` ends, by its brackets. All of its tokens are ones then, and not too many. */
function endOfValue(text: string): number {
  const lexer = new Lexer(text)
  let depth = 0
  let tokens = 0
  while (lexer.next()) {
    if (++tokens > mostTokens) throw refusal('JSON token count limit exceeded')
    if (lexer.kind === 'mark') {
      if (lexer.text === '{' || lexer.text === '[') depth++
      else if (lexer.text === '}' || lexer.text === ']') depth--
    }
    if (depth > deepestOptions) throw refusal('JSON nesting depth limit exceeded')
    if (depth <= 0) break
  }
  if (tokens === 0) throw refusal('Expecting a JSON value')
  return lexer.at
}

class Parser {
  readonly #lexer: Lexer
  /** The token that was taken last is to be taken again. */
  #again = false

  constructor(text: string) {
    this.#lexer = new Lexer(text)
  }

  value(): unknown {
    this.#next()
    const { kind, text } = this.#lexer
    if (text === '{') return this.#object()
    if (text === '[') return this.#list()
    if (kind === 'number') return Number(text)
    if (kind === 'text') return textOf(text)
    if (kind === 'word') return keyword(text)
    throw failure('expecting value')
  }

  #object(): Record<string, unknown> {
    const result: Record<string, unknown> = Object.create(null)
    if (this.#take('}')) return result
    do {
      const key = this.value()
      if (typeof key !== 'string') throw failure('key is not a string in object')
      if (this.#next() !== ':') throw failure('missing : in object pair')
      const value = this.value()
      if (key in result) throw failure('duplicate key')
      result[key] = value
    } while (this.#continues('}', 'dict'))
    return result
  }

  #list(): unknown[] {
    const result: unknown[] = []
    if (this.#take(']')) return result
    do result.push(this.value())
    while (this.#continues(']', 'list'))
    return result
  }

  #continues(end: string, what: string): boolean {
    const text = this.#next()
    if (text !== ',' && text !== end) throw failure(`expected separator in ${what}`)
    return text === ','
  }

  #take(text: string): boolean {
    this.#again = this.#next() !== text
    return !this.#again
  }

  #next(): string {
    if (this.#again) this.#again = false
    else if (!this.#lexer.next()) throw failure('premature EOI')
    return this.#lexer.text
  }
}

function keyword(text: string): boolean | null {
  if (text === 'null') return null
  if (text === 'true' || text === 'false') return text === 'true'
  throw failure(`invalid keyword '${text}'`)
}

const escapes: Readonly<Record<string, string>> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' }

/** What a string with its quotes stands for. */
function textOf(quoted: string): string {
  const special =
    /\\(?:u(.{0,4})(?:(?<=u[dD][89abAB]..)\\u([dD][c-fC-F][\da-fA-F]{2}))?|(.))|[\p{Cs}\p{Noncharacter_Code_Point}]/gu
  const text = quoted.slice(1).replace(special, (_, unit: string | undefined, second: string, letter: string) => {
    if (unit === undefined && letter === undefined) throw failure('invalid UTF-8 sequence in string')
    if (unit !== undefined) return character(unit, second)
    if (!/["'\\/bfnrt]/.test(letter)) throw failure('invalid escape sequence in string')
    return escapes[letter] ?? letter
  })
  return text.slice(0, -1)
}

/** The character of the four digits of one `\u`, or of two that are a surrogate pair. */
function character(unit: string, second = ''): string {
  const isHex = /^(?:[\da-f]{4}|[\da-f]{8})$/i.test(unit + second)
  const units = [unit, second].filter((digits) => digits !== '').map((digits) => Number.parseInt(digits, 16))
  const text = isHex ? String.fromCharCode(...units) : '\ud800'
  if (/^[^\p{Cs}\p{Noncharacter_Code_Point}]$/u.test(text)) return text
  throw failure(`\\u${unit}${second === '' ? '' : `\\u${second}`} is not a valid Unicode character`)
}

function failure(reason: string): BlockError {
  return refusal(`JSON parse error, ${reason}`)
}

function refusal(reason: string): BlockError {
  return new BlockError('EINVAL', `Could not parse the JSON options: ${reason}`)
}
