/** What happened in a simulation, as a hash (the same seed gives the same one) and as its last lines. */
export class Trace {
  readonly #last: string[] = []
  readonly #keep: number
  #hash = 0x811c9dc5
  lines = 0

  /** `keep`: how many of the last lines are kept for a person to read. */
  constructor(keep = 0) {
    this.#keep = keep
  }

  add(text: string, time: number): void {
    const line = `${time.toFixed(3)} ${text}`
    for (let i = 0; i < line.length; i++) this.#hash = Math.imul(this.#hash ^ line.charCodeAt(i), 0x01000193) >>> 0
    this.lines++
    if (this.#keep === 0) return
    this.#last.push(line)
    if (this.#last.length > this.#keep) this.#last.shift()
  }

  get hash(): string {
    return this.#hash.toString(16).padStart(8, '0')
  }

  get last(): readonly string[] {
    return this.#last
  }
}
