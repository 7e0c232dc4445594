/**
 * Splits QMP input into tokens, as QEMU's dialect has them: JSON, and texts between single quotes. Input is bytes as
 * latin-1 text, cut anywhere. What is no token is reported at once, with what was read of it; then everything is skipped
 * up to the next structural character or line, so that a stream goes on after an error.
 */

/** A token. Numbers and keywords are as they were written, texts without their quotes and with escapes. */
export interface Token {
  readonly type: 'structure' | 'string' | 'number' | 'keyword'
  readonly text: string
}

/** Who hears of tokens and of what is none. */
interface TokenSink {
  token(token: Token): void
  failure(message: string): void
}

const structural = '{}[]:,'
const wholeNumber = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/
const numberPrefix = /^-?(?:0|[1-9]\d*)?(?:(?<=\d)\.\d*)?(?:(?<=\d)[eE][+-]?\d*)?$/

type State = 'between' | 'string' | 'escape' | 'number' | 'keyword' | 'recovery'

/** See the top of the file. */
export class Lexer {
  readonly #sink: TokenSink
  readonly #maxToken: () => number
  #state: State = 'between'
  #quote = ''
  /** What earlier chunks had of the token under way. */
  #parts: string[] = []
  #partsLength = 0

  /** `maxToken` tells how many bytes a token may have. */
  constructor(sink: TokenSink, maxToken: () => number) {
    this.#sink = sink
    this.#maxToken = maxToken
  }

  /** Takes some more input. */
  feed(chunk: string): void {
    let start = 0
    for (let at = 0; at < chunk.length; at++) {
      const char = chunk[at] as string
      switch (this.#state) {
        case 'between':
          start = at
          this.#begin(char)
          break
        case 'string':
          if (char === this.#quote) {
            this.#emit('string', this.#taken(chunk.slice(start, at)).slice(1))
          } else if (char === '\\') this.#state = 'escape'
          else if (char < ' ') this.#fail(this.#taken(chunk.slice(start, at + 1)), char === '\n')
          break
        case 'escape':
          if (char < ' ') this.#fail(this.#taken(chunk.slice(start, at + 1)), char === '\n')
          else this.#state = 'string'
          break
        case 'number':
          if (isNumberChar(char)) {
            const text = this.#peek(chunk.slice(start, at + 1))
            if (!numberPrefix.test(text)) this.#fail(this.#taken(chunk.slice(start, at + 1)), false)
            break
          }
          if (!wholeNumber.test(this.#peek(chunk.slice(start, at)))) {
            this.#fail(this.#taken(chunk.slice(start, at + 1)), char === '\n')
            break
          }
          this.#emit('number', this.#taken(chunk.slice(start, at)))
          at--
          break
        case 'keyword':
          if (char >= 'a' && char <= 'z') break
          this.#emit('keyword', this.#taken(chunk.slice(start, at)))
          at--
          break
        case 'recovery':
          if (!structural.includes(char) && char !== '\n') break
          this.#state = 'between'
          at--
          break
      }
    }
    if (this.#state !== 'between' && this.#state !== 'recovery') this.#keep(chunk.slice(start))
  }

  /** Says that nothing more comes: what is under way is a token, or a failure. */
  end(): void {
    if (this.#state === 'number' || this.#state === 'keyword') this.feed('\n')
    else if (this.#state === 'string' || this.#state === 'escape') this.#fail(this.#taken(''), false)
  }

  #begin(char: string): void {
    if (structural.includes(char)) this.#sink.token({ type: 'structure', text: char })
    else if (char === '"' || char === "'") {
      this.#quote = char
      this.#state = 'string'
    } else if (char === '-' || (char >= '0' && char <= '9')) this.#state = 'number'
    else if (char >= 'a' && char <= 'z') this.#state = 'keyword'
    else if (char !== ' ' && char !== '\t' && char !== '\r' && char !== '\n') this.#fail(char, false)
  }

  #emit(type: Token['type'], text: string): void {
    this.#state = 'between'
    this.#sink.token({ type, text })
  }

  #fail(text: string, atLineEnd: boolean): void {
    this.#state = atLineEnd ? 'between' : 'recovery'
    this.#sink.failure(`JSON parse error, stray '${utf8(text)}'`)
  }

  #keep(part: string): void {
    this.#parts.push(part)
    this.#partsLength += part.length
    if (this.#partsLength <= this.#maxToken()) return
    this.#taken('')
    this.#state = 'recovery'
    this.#sink.failure('JSON token size limit exceeded')
  }

  #peek(last: string): string {
    return this.#parts.length === 0 ? last : this.#parts.join('') + last
  }

  #taken(last: string): string {
    const text = this.#peek(last)
    this.#parts = []
    this.#partsLength = 0
    return text
  }
}

function isNumberChar(char: string): boolean {
  return (char >= '0' && char <= '9') || char === '.' || char === 'e' || char === 'E' || char === '+' || char === '-'
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

function utf8(latin1: string): string {
  return decoder.decode(Uint8Array.from(latin1, (char) => char.charCodeAt(0)))
}
