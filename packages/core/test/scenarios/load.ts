/**
 * Load on a disk, for tests that change the graph meanwhile. Several lanes write, zero, read and flush at once, each
 * in a range of its own and one request after the other, so each knows at any time what its range holds. The ranges
 * do not end on block boundaries: neighbours meet in one cluster.
 */
import type { Disk } from '@diskgraph/core'
import { Faults, mustEqual, type Random, randomSeed } from '@diskgraph/driver-testkit'

/** The seed of this run: SEED of the environment, or a new one. Printed in the names of the tests. */
export const seed = Number(process.env.SEED ?? randomSeed())

/** A filter `testkit-fault` that puts every request off, differently for every seed. */
export function jitter(random: Random): Faults {
  const faults = new Faults()
  faults.jitter = random.fork()
  return faults
}

/** Lets timers and I/O have a turn. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve))
}

/** `work`, or an error if it takes longer than 20 s: a request is stuck. */
export async function inTime<T>(what: string, work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const stuck = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} is stuck (seed ${seed})`)), 20_000)
  })
  try {
    return await Promise.race([work, stuck])
  } finally {
    clearTimeout(timer)
  }
}

/** See the top of the file. */
export class Load {
  /** What the disk holds where no request is in flight. */
  readonly content: Uint8Array
  /** Requests that have ended. */
  requests = 0
  readonly #disk: Disk
  readonly #lanes: Promise<void>[]
  #running = true

  constructor(disk: Disk, content: Uint8Array, random: Random, lanes = 7) {
    this.#disk = disk
    this.content = content
    const width = Math.floor(content.length / lanes)
    this.#lanes = Array.from({ length: lanes }, (_, i) => this.#run(i * width, width, random.fork()))
    for (const lane of this.#lanes) lane.catch(() => undefined)
  }

  /** Resolves when at least `count` more requests have ended. */
  async go(count: number): Promise<void> {
    const end = this.requests + count
    const progress = async (): Promise<void> => {
      while (this.requests < end) await Promise.race([turn(), ...this.#lanes])
    }
    await inTime('the load', progress())
  }

  /** Ends the load, and compares the whole disk with what was written. */
  async stop(): Promise<void> {
    this.#running = false
    await inTime('the end of the load', Promise.all(this.#lanes))
    const buf = new Uint8Array(this.content.length)
    await this.#disk.read(0, buf)
    mustEqual(buf, this.content, `the disk (seed ${seed})`)
  }

  async #run(start: number, width: number, random: Random): Promise<void> {
    for (let count = 1; this.#running; count++) {
      const length = random.between(1, Math.min(width, 9000))
      const offset = start + random.below(width - length + 1)
      await this.#request(offset, length, random)
      this.requests++
      if (count % 5 === 0) await turn()
    }
  }

  async #request(offset: number, length: number, random: Random): Promise<void> {
    const mine = this.content.subarray(offset, offset + length)
    const kind = random.weighted({ write: 5, zeroes: 1, read: 3, flush: 0.3 })
    if (kind === 'flush') return this.#disk.flush()
    if (kind === 'read') {
      const buf = new Uint8Array(length)
      await this.#disk.read(offset, buf)
      return mustEqual(buf, mine, `a read at ${offset} (seed ${seed})`)
    }
    if (kind === 'zeroes') {
      await this.#disk.writeZeroes(offset, length)
      mine.fill(0)
      return
    }
    const data = random.chance(0.1) ? new Uint8Array(length) : random.bytes(length)
    await this.#disk.write(offset, data)
    mine.set(data)
  }
}

/** `size` random bytes, with a hole. */
export function randomContent(size: number, random: Random): Uint8Array {
  const content = random.bytes(size)
  content.fill(0, Math.floor(size / 2), Math.floor((size * 5) / 8))
  return content
}
