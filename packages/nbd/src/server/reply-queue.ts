/**
 * The outgoing side of a connection. Replies are put together in slabs, headers and data side by side, so that all that a
 * chunk of requests brings about leaves in one write, and what is read from the disk is read into its place in it:
 *
 *     slab   ┌────────┬──────┬────────┬──────┬────────┬──────────
 *            │ header │ data │ header │ data │ header │ free …
 *            └────────┴──────┴────────┴──────┴────────┴──────────
 *              └── since the last flush ────┘
 *
 * A place whose data does not come at once is *lifted*: it leaves by itself when it is ready, and what stands before and
 * behind it does not wait. A slab is used again when all of its places have been written. Longer replies have buffers
 * of their own.
 *
 * The stream gets no more than a window at a time, and the rest when that has left: so it shows how far a client has read.
 */
import type { ByteDuplex } from '../stream/byte-duplex.ts'
import type { BufferPool, Slab } from './buffer-pool.ts'

const slabLength = 256 * 1024
/** Longer replies are not put into slabs. */
const longestInSlab = 64 * 1024
const keptSlabs = 4
/** Bytes that are handed to the stream before it has written what it was handed. */
const window = 1024 * 1024

/** A place for one reply. */
export interface ReplyPlace {
  readonly slab: Slab
  readonly start: number
}

/** What is to be written, in order: bytes of a slab, and what is given back when they have left. */
interface Segment {
  readonly slab: Slab
  readonly bytes: Uint8Array
  readonly cost: number
}

/** See the top of the file. */
export class ReplyQueue {
  readonly #stream: ByteDuplex
  readonly #release: (cost: number) => void
  #slab: Slab = newSlab()
  /** Bounds of what stands in the slab and has not been written. */
  #from = 0
  #to = 0
  #cost = 0
  #segments: Segment[] = []
  readonly #writing: Segment[] = []
  /** Bytes of `#writing`. */
  #leaving = 0
  #sent = 0
  #onEmpty: (() => void) | undefined
  readonly #slabs: Slab[] = []
  readonly #buffers: BufferPool

  /** `release` is told what the replies that have left cost. */
  constructor(stream: ByteDuplex, buffers: BufferPool, release: (cost: number) => void) {
    this.#stream = stream
    this.#buffers = buffers
    this.#release = release
  }

  /** Bytes that have left. */
  get sent(): number {
    return this.#sent
  }

  /** Whether replies wait for the client to read. */
  get isLeaving(): boolean {
    return this.#leaving > 0
  }

  /** A place for `length` bytes. It is the last one until it is committed or lifted. */
  place(length: number): ReplyPlace {
    if (length > longestInSlab) return { slab: this.#buffers.take(length), start: 0 }
    if (this.#to + length > slabLength) this.#nextSlab()
    return { slab: this.#slab, start: this.#to }
  }

  /** The first `length` bytes of the last place are to leave at the next flush. */
  commit({ slab, start }: ReplyPlace, length: number, cost: number): void {
    if (slab === this.#slab) {
      this.#to = start + length
      this.#cost += cost
      return
    }
    this.push({ slab, start }, start, start + length, cost)
  }

  /** Keeps the last place, of `length` bytes, for later: it is to be pushed or dropped then. */
  lift({ slab, start }: ReplyPlace, length: number): void {
    if (slab !== this.#slab) return
    slab.holds++
    this.#seal()
    this.#from = this.#to = start + length
  }

  /** Bytes `from` to `to` of a lifted place are to leave at the next flush. `more`: others of it follow. */
  push({ slab }: ReplyPlace, from: number, to: number, cost: number, more = false): void {
    if (more) slab.holds++
    this.#seal()
    this.#segments.push({ slab, bytes: slab.bytes.subarray(from, to), cost })
  }

  /** Gives a lifted place up. */
  drop({ slab }: ReplyPlace): void {
    this.#letGo(slab)
  }

  /** Gives a lifted place up in which a read has failed: something may be at work with it still, so it is not used again. */
  abandon(place: ReplyPlace): void {
    if (place.slab.shared) this.drop(place)
  }

  /** The stream is gone: what has not been handed to it never leaves. */
  release(): void {
    this.#seal()
    for (const { slab } of this.#segments.splice(0)) this.#letGo(slab)
  }

  /** Calls `then` when all that stands here has left. */
  whenEmpty(then: () => void): void {
    this.#seal()
    if (this.#segments.length === 0 && this.#leaving === 0) then()
    else this.#onEmpty = then
  }

  /** Lets everything leave, as fast as the client reads. */
  flush(): void {
    this.#seal()
    const segments = this.#segments
    if (segments.length === 0 || this.#leaving >= window) return
    const several = segments.length > 1
    if (several) this.#stream.cork()
    let count = 0
    while (count < segments.length && this.#leaving < window) {
      const segment = segments[count] as Segment
      if (segment.bytes.length > window) segments[count] = this.#writeStart(segment)
      else {
        count++
        this.#write(segment)
      }
    }
    if (count === segments.length) this.#segments = []
    else segments.splice(0, count)
    if (several) this.#stream.uncork()
  }

  /** Writes the first part of a long segment; the result is the rest of it. */
  #writeStart({ slab, bytes, cost }: Segment): Segment {
    slab.holds++
    this.#write({ slab, bytes: bytes.subarray(0, window), cost: 0 })
    return { slab, bytes: bytes.subarray(window), cost }
  }

  #write(segment: Segment): void {
    this.#writing.push(segment)
    this.#leaving += segment.bytes.length
    this.#stream.write(segment.bytes, this.#written)
  }

  /** Moves what stands in the slab to the segments. */
  #seal(): void {
    if (this.#to === this.#from) return
    const slab = this.#slab
    slab.holds++
    this.#segments.push({ slab, bytes: slab.bytes.subarray(this.#from, this.#to), cost: this.#cost })
    this.#from = this.#to
    this.#cost = 0
  }

  #nextSlab(): void {
    this.#seal()
    const old = this.#slab
    this.#slab = this.#slabs.pop() ?? newSlab()
    this.#from = this.#to = 0
    if (old.holds === 0) this.#keep(old)
  }

  /** Writes end in the order of their beginning. */
  readonly #written = (): void => {
    const segment = this.#writing.shift()
    if (segment === undefined) return
    this.#leaving -= segment.bytes.length
    this.#sent += segment.bytes.length
    this.#letGo(segment.slab)
    if (segment.cost > 0) this.#release(segment.cost)
    if (this.#segments.length > 0) {
      if (!this.#stream.destroyed) this.flush()
    } else if (this.#leaving === 0) this.#onEmpty?.()
  }

  #letGo(slab: Slab): void {
    slab.holds--
    if (slab.holds > 0) return
    if (slab !== this.#slab) this.#keep(slab)
    else if (this.#from === this.#to) this.#from = this.#to = 0
  }

  #keep(slab: Slab): void {
    if (!slab.shared) this.#buffers.keep(slab)
    else if (this.#slabs.length < keptSlabs) this.#slabs.push(slab)
  }
}

function newSlab(): Slab {
  return { bytes: new Uint8Array(slabLength), shared: true, holds: 0 }
}
