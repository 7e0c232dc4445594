/** From tokens to values: one after the other out of a stream that goes on after an error. */
import { Lexer, type Token } from './lexer.ts'

/** How much of one value is taken. */
interface JsonLimits {
  readonly nesting: number
  readonly tokens: number
  /** In bytes. */
  readonly size: number
}

/** What QEMU takes. */
export const qemuLimits: JsonLimits = { nesting: 1024, tokens: 2 ** 21, size: 64 * 2 ** 20 }

/** Who hears of values and errors. */
interface ValueSink {
  value(value: unknown): void
  /** `message` says what was wrong; the stream goes on behind it. */
  failure(message: string): void
}

/**
 * Values of QMP's JSON out of chunks of bytes. Objects have no prototype, so that no name in them means anything; whole
 * numbers that a number cannot hold are bigints.
 */
export class JsonStream {
  limits: JsonLimits
  readonly #sink: ValueSink
  readonly #lexer: Lexer
  #tokens: Token[] = []
  #size = 0
  #braces = 0
  #brackets = 0
  #nesting = 0

  constructor(sink: ValueSink, limits: JsonLimits = qemuLimits) {
    this.#sink = sink
    this.limits = limits
    this.#lexer = new Lexer(
      { token: (token) => this.#token(token), failure: (message) => this.#fail(message) },
      () => this.limits.size - this.#size,
    )
  }

  /** Takes some more input. */
  feed(chunk: Uint8Array): void {
    this.#lexer.feed(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length).toString('latin1'))
  }

  /** Says that nothing more comes. */
  end(): void {
    this.#lexer.end()
  }

  #token(token: Token): void {
    const { type, text } = token
    if (type === 'structure') this.#count(text)
    this.#size += text.length + 1
    this.#tokens.push(token)
    if (this.#nesting > this.limits.nesting) this.#fail('JSON nesting depth limit exceeded')
    else if (this.#tokens.length > this.limits.tokens) this.#fail('JSON token count limit exceeded')
    else if (this.#size > this.limits.size) this.#fail('JSON token size limit exceeded')
    else if (this.#braces < 0 || this.#brackets < 0 || (this.#braces === 0 && this.#brackets === 0)) this.#complete()
  }

  #count(text: string): void {
    if (text === '{') this.#braces++
    else if (text === '}') this.#braces--
    else if (text === '[') this.#brackets++
    else if (text === ']') this.#brackets--
    this.#nesting = this.#braces + this.#brackets
  }

  #complete(): void {
    const tokens = this.#tokens
    this.#reset()
    let value: unknown
    try {
      value = new Parser(tokens).whole()
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error
      this.#sink.failure(`JSON parse error, ${error.message}`)
      return
    }
    this.#sink.value(value)
  }

  #fail(message: string): void {
    this.#reset()
    this.#sink.failure(message)
  }

  #reset(): void {
    this.#tokens = []
    this.#size = 0
    this.#braces = 0
    this.#brackets = 0
    this.#nesting = 0
  }
}

class Parser {
  readonly #tokens: readonly Token[]
  #at = 0

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens
  }

  whole(): unknown {
    return this.#value()
  }

  #value(): unknown {
    const token = this.#tokens[this.#at++]
    if (token === undefined) throw new SyntaxError('expecting value')
    if (token.type === 'string') return contentOf(token.text)
    if (token.type === 'number') return numberOf(token.text)
    if (token.type === 'keyword') return keyword(token.text)
    if (token.text === '{') return this.#object()
    if (token.text === '[') return this.#list()
    throw new SyntaxError('expecting value')
  }

  #object(): Record<string, unknown> {
    const result: Record<string, unknown> = Object.create(null)
    if (this.#take('}')) return result
    do {
      const key = this.#value()
      if (typeof key !== 'string') throw new SyntaxError('key is not a string in object')
      if (!this.#take(':')) throw new SyntaxError('missing : in object pair')
      const value = this.#value()
      if (key in result) throw new SyntaxError('duplicate key')
      result[key] = value
    } while (this.#take(','))
    if (!this.#take('}')) throw new SyntaxError('expected separator in dict')
    return result
  }

  #list(): unknown[] {
    const result: unknown[] = []
    if (this.#take(']')) return result
    do result.push(this.#value())
    while (this.#take(','))
    if (!this.#take(']')) throw new SyntaxError('expected separator in list')
    return result
  }

  #take(text: string): boolean {
    const token = this.#tokens[this.#at]
    if (token?.type !== 'structure' || token.text !== text) return false
    this.#at++
    return true
  }
}

function keyword(text: string): boolean | null {
  if (text === 'true') return true
  if (text === 'false') return false
  if (text === 'null') return null
  throw new SyntaxError(`invalid keyword '${text}'`)
}

function numberOf(text: string): number | bigint {
  if (!/^-?\d+$/.test(text)) return Number(text)
  const number = Number(text)
  if (Number.isSafeInteger(number)) return number === 0 ? 0 : number
  const exact = BigInt(text)
  return exact >= -(2n ** 63n) && exact < 2n ** 64n ? exact : number
}

const escapes: Readonly<Record<string, string>> = {
  '"': '"',
  "'": "'",
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The text that the bytes between quotes stand for. */
function contentOf(raw: string): string {
  if (!/[\\\x80-\xff]/.test(raw)) return raw
  let result = ''
  for (let at = 0; at < raw.length; ) {
    const next = raw.indexOf('\\', at)
    const end = next < 0 ? raw.length : next
    result += decoded(raw.slice(at, end))
    if (next < 0) break
    const [text, length] = escaped(raw, next)
    result += text
    at = next + length
  }
  return result
}

function decoded(latin1: string): string {
  try {
    return decoder.decode(Uint8Array.from(latin1, (char) => char.charCodeAt(0)))
  } catch {
    throw new SyntaxError('invalid UTF-8 sequence in string')
  }
}

/** What the escape at `at` stands for, and its length. */
function escaped(raw: string, at: number): [string, number] {
  const char = raw[at + 1] as string
  if (char !== 'u') {
    const text = Object.hasOwn(escapes, char) ? escapes[char] : undefined
    if (text === undefined) throw new SyntaxError('invalid escape sequence in string')
    return [text, 2]
  }
  const [unit] = /^[0-9a-fA-F]{4}/.exec(raw.slice(at + 2, at + 6)) ?? []
  if (unit === undefined) throw notUnicode(`${raw}"`.slice(at, at + 6))
  const code = Number.parseInt(unit, 16)
  if (code < 0xd800 || code > 0xdfff) return [String.fromCharCode(code), 6]
  const [, low] = /^\\u([dD][c-fC-F][0-9a-fA-F]{2})/.exec(raw.slice(at + 6, at + 12)) ?? []
  if (code > 0xdbff || low === undefined) throw notUnicode(raw.slice(at, at + 6))
  return [String.fromCharCode(code, Number.parseInt(low, 16)), 12]
}

function notUnicode(text: string): SyntaxError {
  return new SyntaxError(`${text} is not a valid Unicode character`)
}
