/**
 * Reads by transfers: longer than what is asked for, shared, and kept for a while.
 *
 * A read is cut into pieces, each inside one transfer: one that is finished, one that is under way (two reads of one
 * block share it), or a new one for the gap between those. A piece is copied as soon as its bytes have arrived, not
 * when the transfer ends; the rest of the transfer goes on for the reads to come. Transfers never overlap, so a byte is
 * asked for once. When reads follow each other, the next transfers start before the last one is used up.
 *
 * Everything up to the first `await` happens in one stretch: a read finds its transfers, starts the missing ones and
 * counts itself as their reader at once. A transfer that loses its last reader before it has served one is aborted and
 * forgotten in one stretch too, so nobody can join one that is about to fail for another's sake.
 */
import { done } from '@diskgraph/core/driver'
import type { ReadingSettings } from './options.ts'
import { Slots } from './slots.ts'
import { Transfer } from './transfer.ts'

/** Shortest transfer of reads here and there that find no use for longer ones, unless the read-ahead is shorter. */
const minTransfer = 16 * 1024
/** Longest transfer, unless the read-ahead is longer: several small ones share the connections better. */
const maxTransfer = 512 * 1024

/** Receives the bytes of a transfer, in order. The chunk is only valid during the call. */
export type Sink = (offset: number, chunk: Uint8Array) => void

/** Where the bytes come from. */
export interface Source {
  readonly size: number
  transfer(start: number, end: number, sink: Sink, signal: AbortSignal): Promise<void>
}

interface Piece {
  readonly transfer: Transfer
  readonly from: number
  readonly to: number
}

/** See the top of the file. */
export class ReadAhead {
  readonly #source: Source
  readonly #readahead: number
  readonly #cacheSize: number
  readonly #longest: number
  readonly #slots: Slots
  /** Under way. Together with those kept they are disjoint. */
  readonly #active = new Set<Transfer>()
  /** Finished; those used last stand last. */
  readonly #kept = new Set<Transfer>()
  #keptBytes = 0
  readonly #running = new Set<Promise<void>>()
  /** How much a read that follows no other transfers at least: half as much whenever nobody else had use for the last one. */
  #reach: number
  /** The last transfer that was started for such a read. */
  #last: Transfer | undefined
  /** Where a read would follow the one before, and how many bytes have been read like that in a row. */
  #next = -1
  #followed = 0

  constructor(source: Source, settings: Pick<ReadingSettings, 'readahead' | 'cacheSize' | 'connections'>) {
    this.#source = source
    this.#readahead = settings.readahead
    this.#cacheSize = settings.cacheSize
    this.#reach = settings.readahead
    this.#longest = Math.max(maxTransfer, settings.readahead)
    this.#slots = new Slots(settings.connections)
  }

  /** Fills `buf` from `offset`; all of it lies within the source. */
  read(offset: number, buf: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    if (buf.length === 0) return done
    const end = offset + buf.length
    const pieces = this.#plan(offset, end, offset === this.#next)
    this.#followed = offset === this.#next ? this.#followed + buf.length : 0
    this.#next = end
    if (this.#followed > 0) this.#lookAhead(end)
    if (pieces.every(({ transfer, to }) => transfer.has(to))) {
      for (const piece of pieces) copy(piece, offset, buf)
      this.#leave(pieces)
      return done
    }
    return this.#collect(pieces, offset, buf, signal)
  }

  /** Takes bytes that came another way. */
  put(offset: number, bytes: Uint8Array): void {
    if (bytes.length === 0) return
    const transfer = new Transfer(offset, offset + bytes.length, true)
    transfer.fill(offset, bytes)
    this.#keep(transfer)
  }

  /** Gives up all transfers and forgets what was kept. Resolves when nothing is under way any more. */
  async clear(): Promise<void> {
    for (const transfer of this.#active) transfer.giveUp()
    this.#active.clear()
    this.#kept.clear()
    this.#keptBytes = 0
    this.#next = -1
    await Promise.allSettled(this.#running)
  }

  async #collect(
    pieces: readonly Piece[],
    offset: number,
    buf: Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    try {
      for (const piece of pieces) {
        const { transfer, to } = piece
        if (!transfer.has(to)) await transfer.wait(to, signal)
        copy(piece, offset, buf)
        transfer.ahead = true
      }
    } finally {
      this.#leave(pieces)
    }
  }

  /** The pieces of a range, with transfers started for what is missing. */
  #plan(offset: number, end: number, follows: boolean): Piece[] {
    const pieces: Piece[] = []
    for (let at = offset; at < end; ) {
      const transfer = this.#hit(at) ?? this.#start(at, Math.max(end, at + this.#length(follows)), false)
      if (!follows && transfer.hits === 0) this.#last = transfer
      const to = Math.min(end, transfer.end)
      transfer.readers++
      pieces.push({ transfer, from: at, to })
      at = to
    }
    return pieces
  }

  #hit(at: number): Transfer | undefined {
    const transfer = this.#find(at)
    if (transfer === undefined) return undefined
    transfer.hits++
    this.#reach = Math.min(this.#readahead, this.#reach * 2)
    return transfer
  }

  #length(follows: boolean): number {
    if (follows) return this.#readahead
    if (this.#last?.hits === 0)
      this.#reach = Math.max(Math.min(minTransfer, this.#readahead), Math.floor(this.#reach / 2))
    return this.#reach
  }

  /** Starts transfers of what comes next: as much as has been read in a row, up to half of the room there is. */
  #lookAhead(at: number): void {
    if (this.#readahead === 0 || this.#cacheSize < 2 * this.#readahead) return
    const window = Math.max(this.#readahead, Math.min(this.#followed, Math.floor(this.#cacheSize / 2)))
    const length = Math.max(this.#readahead, Math.min(Math.floor(window / 2), this.#longest))
    const limit = Math.min(at + window - length / 2, this.#source.size - 1)
    for (let next = at; next <= limit; ) {
      const transfer = this.#find(next) ?? this.#start(next, next + length, true)
      next = transfer.end
    }
  }

  /** The transfer that holds, or will hold, the byte at `at`. */
  #find(at: number): Transfer | undefined {
    for (const transfer of this.#active) if (transfer.start <= at && at < transfer.end) return transfer
    for (const transfer of this.#kept) {
      if (transfer.start > at || at >= transfer.end) continue
      this.#kept.delete(transfer)
      this.#kept.add(transfer)
      return transfer
    }
    return undefined
  }

  /** Starts a transfer of at most the bytes before `end`, up to the next transfer that is known. */
  #start(start: number, end: number, ahead: boolean): Transfer {
    let limit = Math.min(end, this.#source.size, start + this.#longest)
    for (const others of [this.#active, this.#kept]) {
      for (const other of others) if (other.start > start && other.start < limit) limit = other.start
    }
    const transfer = new Transfer(start, limit, ahead)
    this.#active.add(transfer)
    const running = this.#run(transfer)
    this.#running.add(running)
    void running.then(() => this.#running.delete(running))
    return transfer
  }

  async #run(transfer: Transfer): Promise<void> {
    const { signal } = transfer
    try {
      await this.#slots.acquire(signal)
      try {
        const fill: Sink = (offset, chunk) => transfer.fill(offset, chunk)
        await this.#source.transfer(transfer.start, transfer.end, fill, signal)
      } finally {
        this.#slots.release()
      }
      if (this.#active.delete(transfer)) this.#keep(transfer)
    } catch (error) {
      this.#active.delete(transfer)
      transfer.fail(error)
    }
  }

  /** Keeps a finished transfer as long as there is room, at the expense of those used longest ago. */
  #keep(transfer: Transfer): void {
    this.#kept.add(transfer)
    this.#keptBytes += transfer.length
    for (const oldest of this.#kept) {
      if (this.#keptBytes <= this.#cacheSize) return
      this.#kept.delete(oldest)
      this.#keptBytes -= oldest.length
    }
  }

  #leave(pieces: readonly Piece[]): void {
    for (const { transfer } of pieces) {
      transfer.readers--
      if (transfer.readers > 0 || transfer.ahead || transfer.complete) continue
      this.#active.delete(transfer)
      transfer.giveUp()
    }
  }
}

function copy({ transfer, from, to }: Piece, offset: number, buf: Uint8Array): void {
  buf.set(transfer.bytes.subarray(from - transfer.start, to - transfer.start), from - offset)
}
