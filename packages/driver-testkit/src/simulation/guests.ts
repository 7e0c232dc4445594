/** The guests of a simulation: they read, write, zero and flush one disk at the same time, and keep its history. */
import type { Disk } from '@diskgraph/core'
import { isBlockError } from '@diskgraph/core/driver'
import type { Random } from '../random.ts'
import type { History } from './history.ts'
import type { Trace } from './trace.ts'

const sector = 512
/** A request that is answered later than this, in virtual milliseconds, is stuck. */
const patience = 60_000

/** Errors that a guest has to expect: of the storage, of its own signal, of the end. */
const expected = new Set(['EIO', 'ECANCELED', 'ENOMEDIUM', 'ENODEV', 'ENOSPC'])

/** See the top of the file. */
export class Guests {
  readonly #disk: Disk
  readonly #history: History
  readonly #trace: Trace
  readonly #random: Random
  readonly #now: () => number
  /** When each request under way began. */
  readonly #begun = new Map<string, number>()
  #nextValue = 1
  running = true
  requests = 0

  constructor(disk: Disk, settings: { history: History; trace: Trace; random: Random; now: () => number }) {
    this.#disk = disk
    this.#history = settings.history
    this.#trace = settings.trace
    this.#random = settings.random
    this.#now = settings.now
  }

  /** Runs `count` guests until {@link running} is false or the disk is closed. */
  async run(count: number, pause: (ms: number) => Promise<void>): Promise<void> {
    await Promise.all(Array.from({ length: count }, (_, i) => this.#guest(i, pause)))
  }

  /** Throws when a request is stuck. */
  look(): void {
    for (const [name, begin] of this.#begun) {
      if (this.#now() - begin > patience) throw new Error(`${name} has been under way for ${patience} virtual ms`)
    }
  }

  /** Counts some other operation among those that may not be stuck. */
  async watched<T>(name: string, work: Promise<T>): Promise<T> {
    this.#begun.set(name, this.#now())
    this.#trace.add(`${name} begins`, this.#now())
    try {
      const result = await work
      this.#trace.add(`${name} ends`, this.#now())
      return result
    } catch (error) {
      this.#trace.add(`${name} fails: ${isBlockError(error) ? error.code : String(error)}`, this.#now())
      throw error
    } finally {
      this.#begun.delete(name)
    }
  }

  /** Runs `work`, after which everything from `size` on is zero; if it fails, anything may be there. */
  async zeroing(size: number, end: number, work: () => Promise<void>): Promise<void> {
    const call = this.#history.tick()
    const sectors = sectorsOf(size, end - size)
    const accesses = sectors.map((one) => this.#history.zero(one, call))
    try {
      await work()
    } catch (error) {
      for (const one of sectors) this.#history.lose(one)
      throw error
    }
    const answer = this.#history.tick()
    for (const access of accesses) access.answer = answer
  }

  async #guest(index: number, pause: (ms: number) => Promise<void>): Promise<void> {
    const random = this.#random.fork()
    for (let n = 0; this.running && !this.#disk.closed; n++) {
      if (random.chance(0.3)) await pause(random.fraction() * 10)
      if (this.#disk.closed) return
      const { size } = this.#disk
      const length = sector * Math.min(random.between(1, 24), Math.floor(size / sector))
      const offset = sector * random.below(Math.floor((size - length) / sector) + 1)
      const signal = random.chance(0.03) ? aborting(random, pause) : undefined
      try {
        await this.watched(`guest ${index}.${n}`, this.#request(random, offset, length, signal))
      } catch (error) {
        if (!isBlockError(error) || !expected.has(error.code)) throw error
      }
      this.requests++
    }
  }

  async #request(random: Random, offset: number, length: number, signal: AbortSignal | undefined): Promise<void> {
    const disk = this.#disk
    const history = this.#history
    const kind = random.weighted({ write: 5, read: 5, zero: 1, flush: 0.5, status: 0.3 })
    if (kind === 'flush') return disk.flush(signal)
    if (kind === 'status') return void (await disk.status(offset, length, undefined, signal))
    const call = history.tick()
    const sectors = sectorsOf(offset, length)
    if (kind === 'read') {
      const buf = new Uint8Array(length).fill(0xff)
      await disk.read(offset, buf, 0, signal)
      const answer = history.tick()
      for (const [i, one] of sectors.entries()) history.read(one, storedValue(buf, i * sector), call, answer)
      return
    }
    const accesses = kind === 'zero' ? sectors.map((one) => history.zero(one, call)) : []
    if (kind === 'zero') await disk.writeZeroes(offset, length, 0, signal)
    else {
      const buf = new Uint8Array(length)
      for (const [i, one] of sectors.entries()) {
        const value = this.#nextValue++
        accesses.push(history.write(one, value, call))
        new Uint32Array(buf.buffer, i * sector, sector / 4).fill(value)
      }
      await disk.write(offset, buf, 0, signal)
    }
    const answer = history.tick()
    for (const access of accesses) access.answer = answer
  }
}

function sectorsOf(offset: number, length: number): number[] {
  return Array.from({ length: Math.max(0, Math.ceil(length / sector)) }, (_, i) => Math.floor(offset / sector) + i)
}

/** The value that a sector holds. It is written as a whole, so all its words are equal. */
function storedValue(buf: Uint8Array, offset: number): number {
  const words = new Uint32Array(buf.buffer, offset, sector / 4)
  const value = words[0] as number
  if (!words.every((word) => word === value)) throw new Error(`a sector holds more than one value: ${value} and others`)
  return value
}

function aborting(random: Random, pause: (ms: number) => Promise<void>): AbortSignal {
  const controller = new AbortController()
  pause(random.fraction() * 8).then(() => controller.abort())
  return controller.signal
}
