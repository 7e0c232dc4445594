import type { Random } from './random.ts'

/** One operation on a disk. */
export type Operation =
  | { readonly kind: 'read'; readonly offset: number; readonly length: number }
  | { readonly kind: 'write'; readonly offset: number; readonly data: Uint8Array; readonly flags: number }
  | { readonly kind: 'zeroes'; readonly offset: number; readonly length: number; readonly flags: number }
  | { readonly kind: 'discard'; readonly offset: number; readonly length: number }
  | { readonly kind: 'flush' }

/** The kinds of {@link Operation}. */
export type OperationKind = Operation['kind']

/** What a {@link OperationGenerator} makes. */
export interface OperationSettings {
  /** Size of the disk in bytes. */
  readonly size: number
  /** How often each kind comes. A kind that is left out never does. */
  readonly weights: Readonly<Partial<Record<OperationKind, number>>>
  /** Offsets and lengths are multiples of this. Default 1. */
  readonly alignment?: number
  /** Offsets come near multiples of this more often. Default 65536. */
  readonly cluster?: number
  /** Default: an eighth of the disk, at most 256 KiB. */
  readonly maxLength?: number
  /** Flags that writes and zeroes may carry, each set by a coin. Default none. */
  readonly writeFlags?: readonly number[]
  readonly zeroFlags?: readonly number[]
}

/**
 * Makes random operations: lengths from one byte up on a logarithmic scale, offsets that crowd around the edges of
 * clusters and in a few hot places, so that requests meet.
 */
export class OperationGenerator {
  readonly #settings: Required<OperationSettings>
  readonly #random: Random
  readonly #hot: readonly number[]

  constructor(settings: OperationSettings, random: Random) {
    const { size } = settings
    this.#settings = {
      alignment: 1,
      cluster: 65536,
      maxLength: Math.max(1, Math.min(2 ** 18, Math.floor(size / 8))),
      writeFlags: [],
      zeroFlags: [],
      ...settings,
    }
    this.#random = random
    this.#hot = Array.from({ length: 4 }, () => random.below(Math.max(size, 1)))
  }

  /** The next operation; of `kind` if it is given. */
  next(kind: OperationKind = this.#random.weighted(this.#settings.weights)): Operation {
    if (kind === 'flush') return { kind }
    const { offset, length } = this.range()
    if (kind === 'write') {
      return { kind, offset, data: this.data(length), flags: this.#flags(this.#settings.writeFlags) }
    }
    if (kind === 'zeroes') return { kind, offset, length, flags: this.#flags(this.#settings.zeroFlags) }
    return { kind, offset, length }
  }

  /** Between one and `most` operations that may run at once. */
  batch(most: number): Operation[] {
    return Array.from({ length: this.#random.between(1, most) }, () => this.next())
  }

  /** A random range of the disk. */
  range(): { readonly offset: number; readonly length: number } {
    const { size, alignment, maxLength } = this.#settings
    const random = this.#random
    const units = Math.max(1, Math.floor(Math.exp(random.fraction() * Math.log(maxLength / alignment + 1))))
    const length = Math.min(units * alignment, Math.floor(size / alignment) * alignment)
    const offset = Math.floor(Math.min(Math.max(0, this.#place(length)), size - length) / alignment) * alignment
    return { offset, length }
  }

  /** Data that is unlikely to repeat, sometimes all zeroes, sometimes one byte throughout. */
  data(length: number): Uint8Array {
    const random = this.#random
    if (random.chance(0.05)) return new Uint8Array(length)
    if (random.chance(0.3)) return new Uint8Array(length).fill(random.between(1, 255))
    const data = new Uint8Array(length)
    let word = random.word()
    for (let i = 0; i < length; i++) {
      word = (Math.imul(word, 1664525) + 1013904223) >>> 0
      data[i] = word >>> 24
    }
    return data
  }

  #place(length: number): number {
    const { size, cluster } = this.#settings
    const random = this.#random
    const way = random.fraction()
    if (way < 0.4) return random.below(size)
    if (way < 0.6) return random.pick(this.#hot) + random.between(-2048, 2048)
    if (way < 0.65) return size - length
    const edge = random.below(Math.ceil(size / cluster) + 1) * cluster
    return way < 0.8 ? edge : edge - random.below(length + 1)
  }

  #flags(choices: readonly number[]): number {
    let flags = 0
    for (const flag of choices) if (this.#random.chance(0.5)) flags += flag
    return flags
  }
}

/** One line that tells what an operation does. */
export function describeOperation(operation: Operation): string {
  switch (operation.kind) {
    case 'flush':
      return 'flush'
    case 'write':
      return `write ${operation.offset} +${operation.data.length} (first byte ${operation.data[0]}, flags ${operation.flags})`
    case 'zeroes':
      return `zeroes ${operation.offset} +${operation.length} (flags ${operation.flags})`
    default:
      return `${operation.kind} ${operation.offset} +${operation.length}`
  }
}
