/**
 * The reference model of a disk: every byte that a reader may see.
 *
 * Operations that run at once form a batch. A byte that one operation of the batch changes may read as before or
 * as after while the batch runs, and reads as after when it has ended; a byte that several change may end as any of
 * them left it. A discarded byte may stay, or read as zero (or as a backing file has it). After a batch the model
 * is told what such bytes read as, and holds the disk to it from then on.
 */
import type { Operation } from './operations.ts'

/** A range of bytes. */
export interface ByteRange {
  readonly offset: number
  readonly length: number
}

type Change = Extract<Operation, { kind: 'write' | 'zeroes' | 'discard' }>

/** See the top of the file. */
export class Model {
  /** What every byte read as after the last batch. */
  readonly bytes: Uint8Array
  /** What a discarded byte may fall back to. */
  readonly #below: Uint8Array | undefined

  constructor(bytes: Uint8Array, below?: Uint8Array) {
    this.bytes = bytes
    this.#below = below
  }

  /** What is wrong with `buf`, read at `offset` while `concurrent` may have been running; undefined if nothing is. */
  faultOfRead(offset: number, buf: Uint8Array, concurrent: readonly Operation[] = []): string | undefined {
    const changes = changesOf(concurrent)
    for (let i = 0; i < buf.length; i++) {
      const at = offset + i
      const got = buf[i] as number
      if (got === this.bytes[at]) continue
      if (changes.some((change) => covers(change, at) && this.#allows(change, at, got))) continue
      return `byte at ${at} reads as ${got} instead of ${this.#allowed(changes, at).join(' or ')}`
    }
    return undefined
  }

  /**
   * Takes a finished batch into account. Returns the ranges whose bytes are not certain now: read them, and pass
   * what they are to {@link settle}.
   */
  apply(batch: readonly Operation[]): ByteRange[] {
    const changes = changesOf(batch)
    this.#open = changes
    const certain = new Set(changes)
    for (const a of changes) {
      if (a.kind === 'discard') certain.delete(a)
      for (const b of changes) if (a !== b && overlap(a, b)) certain.delete(a)
    }
    const uncertain: ByteRange[] = []
    for (const change of changes) {
      if (certain.has(change)) this.#store(change)
      else uncertain.push(rangeOf(change))
    }
    return uncertain
  }

  /** What is wrong with the bytes of an uncertain range, if anything; they are expected from now on. */
  settle(offset: number, buf: Uint8Array): string | undefined {
    const fault = this.#faultOfSettled(offset, buf)
    this.#settled.push({ offset, buf: buf.slice() })
    return fault
  }

  /** Ends the settling of a batch. */
  settled(): void {
    for (const { offset, buf } of this.#settled) this.bytes.set(buf, offset)
    this.#settled = []
    this.#open = []
  }

  #open: readonly Change[] = []
  #settled: { readonly offset: number; readonly buf: Uint8Array }[] = []

  #faultOfSettled(offset: number, buf: Uint8Array): string | undefined {
    for (let i = 0; i < buf.length; i++) {
      const at = offset + i
      const got = buf[i] as number
      const here = this.#open.filter((change) => covers(change, at))
      if (here.some((change) => this.#allows(change, at, got))) continue
      // Only discards may leave a byte as it was.
      if (here.every((change) => change.kind === 'discard') && got === this.bytes[at]) continue
      return `byte at ${at} reads as ${got} instead of ${this.#allowed(here, at).join(' or ')}`
    }
    return undefined
  }

  #store(change: Change): void {
    if (change.kind === 'write') this.bytes.set(change.data, change.offset)
    else this.bytes.fill(0, change.offset, change.offset + change.length)
  }

  #allows(change: Change, at: number, got: number): boolean {
    if (change.kind === 'write') return change.data[at - change.offset] === got
    return got === 0 || (change.kind === 'discard' && got === this.#below?.[at])
  }

  #allowed(changes: readonly Change[], at: number): number[] {
    const values = new Set([this.bytes[at] as number])
    for (const change of changes) {
      if (covers(change, at)) values.add(change.kind === 'write' ? (change.data[at - change.offset] as number) : 0)
    }
    return [...values]
  }
}

function changesOf(operations: readonly Operation[]): Change[] {
  return operations.filter((o): o is Change => o.kind === 'write' || o.kind === 'zeroes' || o.kind === 'discard')
}

function rangeOf(change: Change): ByteRange {
  return { offset: change.offset, length: change.kind === 'write' ? change.data.length : change.length }
}

function covers(change: Change, at: number): boolean {
  const { offset, length } = rangeOf(change)
  return at >= offset && at < offset + length
}

function overlap(a: Change, b: Change): boolean {
  const x = rangeOf(a)
  const y = rangeOf(b)
  return x.offset < y.offset + y.length && y.offset < x.offset + x.length
}
