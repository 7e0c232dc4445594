/**
 * JSON as QEMU reads it in `json:` names: strings in single quotes, too, no key twice, a limit of depth.
 * Texts of errors are QEMU's, found by running the tools.
 */
import { BlockError } from '../errors.ts'

/** How deep options may nest; QEMU's limit for JSON. */
export const deepestOptions = 1024

/** The start of a string: its quote, plain characters and escapes. A control character ends it. */
const [double, single] = [
  /"[ !#-[\]-\u{10ffff}]*(?:\\[ -\u{10ffff}][ !#-[\]-\u{10ffff}]*)*/u,
  /'[ -&(-[\]-\u{10ffff}]*(?:\\[ -\u{10ffff}][ -&(-[\]-\u{10ffff}]*)*/u,
]
/** A number that breaks off, with the character at which it does. */
const halfNumber = /-?(?:0\d|(?:0|[1-9]\d*)(?:\.(?!\d)|(?:\.\d+)?[eE][+-]?(?!\d)).?|(?<=-)(?!\d).?)/su

/** One token, or what is no token, up to the character that spoils it. */
const token = new RegExp(
  [
    String.raw`(?<space>[ \t\r\n]+)`,
    String.raw`(?<mark>[{}[\]:,])`,
    `(?<text>${double.source}"|${single.source}')`,
    `(?<half>${halfNumber.source})`,
    String.raw`(?<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)`,
    `(?<word>[a-z]+)`,
    String.raw`(?<stray>(?:${double.source}|${single.source})\\?.?|.)`,
  ].join('|'),
  'suy',
)

interface Token {
  readonly kind: string
  readonly text: string
}

/** The value of a text. EINVAL, worded as QEMU words it. */
export function parseJson(text: string): unknown {
  const { tokens, rest } = split(text)
  if (tokens.length === 0) throw refusal('Expecting a JSON value')
  const value = new Parser(tokens).value()
  if (/[^ \t\r\n]/.test(rest)) throw refusal('Expecting at most one JSON value')
  return value
}

/** The tokens of the first value of `text`, up to the bracket that closes it, and what stands behind. */
function split(text: string): { tokens: Token[]; rest: string } {
  const tokens: Token[] = []
  let depth = 0
  token.lastIndex = 0
  for (let match = token.exec(text); match !== null; match = token.exec(text)) {
    const [kind, found] = Object.entries(match.groups ?? {}).find(([, part]) => part !== undefined) as [string, string]
    if (kind === 'space') continue
    if (kind === 'stray' || kind === 'half') throw failure(`stray '${found}'`)
    tokens.push({ kind, text: found })
    if (found === '{' || found === '[') depth++
    else if (found === '}' || found === ']') depth--
    if (depth > deepestOptions) throw refusal('JSON nesting depth limit exceeded')
    if (depth <= 0) return { tokens, rest: text.slice(token.lastIndex) }
  }
  return { tokens, rest: '' }
}

class Parser {
  readonly #tokens: readonly Token[]
  #at = 0

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens
  }

  value(): unknown {
    const { kind, text } = this.#next()
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
      if (this.#next().text !== ':') throw failure('missing : in object pair')
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
    const { text } = this.#next()
    if (text !== ',' && text !== end) throw failure(`expected separator in ${what}`)
    return text === ','
  }

  #take(text: string): boolean {
    if (this.#tokens[this.#at]?.text !== text) return false
    this.#at++
    return true
  }

  #next(): Token {
    const next = this.#tokens[this.#at++]
    if (next === undefined) throw failure('premature EOI')
    return next
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
  const escaped = /\\(?:u(.{0,4})(?:(?<=u[dD][89abAB]..)\\u([dD][c-fC-F][\da-fA-F]{2}))?|(.))/gu
  const text = quoted.slice(1).replace(escaped, (_, unit: string | undefined, second: string, letter: string) => {
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
