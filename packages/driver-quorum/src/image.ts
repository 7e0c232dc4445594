/**
 * The image of a quorum node.
 *
 * A read goes to all children at once; the first reads into the caller's buffer, the others into buffers of their
 * own. While all agree nothing is copied. Otherwise the version that most children have is the answer, if
 * they are as many as the threshold. A write goes to all children and succeeds if the threshold of them took it.
 *
 * A write holds its range exclusively and a read holds it shared. So a read never sees a write on some children
 * only, which would look like corruption (and be "repaired"), and two writes to one place reach all children
 * in one order. Writing has no abort: half of a write would be a dispute that no vote settles.
 */
import {
  BlockError,
  type BlockStatus,
  type ChildHandle,
  type Children,
  type DriverInfo,
  describeErrorCode,
  type ErrorCode,
  errorCodeOf,
  Flag,
  type Limits,
  type OpenImage,
  RangeLock,
  throwIfAborted,
} from '@diskgraph/core/driver'
import { firstDifference, twinOf } from './compare.ts'
import { countVotes, type Version, winnerOf } from './vote.ts'

/** Settings of a {@link QuorumImage}, all given. */
export interface QuorumSettings {
  readonly voteThreshold: number
  readonly blkverify: boolean
  readonly rewriteCorrupted: boolean
  readonly readPattern: 'quorum' | 'fifo'
}

/** What the image tells the outside. */
interface QuorumHost {
  readonly nodeName: string
  readonly children: Children
  emit(event: string, data: Readonly<Record<string, unknown>>): void
}

type Operation = 'read' | 'write' | 'flush'

/** A range of bytes that a request is about; a flush has none. */
interface Range {
  readonly offset: number
  readonly length: number
}

/** A read needs a buffer of its length for every child but one. */
const maxTransfer = 2 ** 22

const nowhere: Range = { offset: 0, length: 0 }
const same = (a: Uint8Array, b: Uint8Array): boolean => firstDifference(a, b) < 0

/** See the top of the file. */
export class QuorumImage implements OpenImage {
  readonly writeFlags = Flag.Unchanged
  readonly zeroFlags = Flag.MayUnmap | Flag.NoFallback | Flag.Unchanged
  readonly flushesChildren = true
  readonly #settings: QuorumSettings
  readonly #host: QuorumHost
  readonly #lock = new RangeLock()
  #children: readonly ChildHandle[]

  constructor(settings: QuorumSettings, host: QuorumHost) {
    this.#settings = settings
    this.#host = host
    this.#children = host.children.list('children')
  }

  get size(): number {
    let size = 0
    for (const child of this.#children) if (child.size > size) size = child.size
    return size
  }

  get limits(): Partial<Limits> {
    const optimalTransfer = Math.max(0, ...this.#children.map((child) => child.limits.optimalTransfer))
    return { optimalTransfer, maxTransfer }
  }

  get zeroInit(): boolean {
    return this.#children.every((child) => child.zeroInit)
  }

  async read(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    const hold = await this.#lock.acquire(offset, buf.length, false)
    try {
      if (this.#settings.readPattern === 'fifo') await this.#readFirst(offset, buf, flags, signal)
      else await this.#readAll(offset, buf, flags, signal)
    } finally {
      this.#lock.release(hold)
    }
  }

  async write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    throwIfAborted(signal)
    await this.#change({ offset, length: buf.length }, (child) => child.write(offset, buf, flags))
  }

  async writeZeroes(offset: number, length: number, flags: number, signal?: AbortSignal): Promise<void> {
    throwIfAborted(signal)
    await this.#change({ offset, length }, (child) => child.writeZeroes(offset, length, flags), {
      ...((flags & Flag.NoFallback) === 0
        ? {}
        : { otherwise: (child) => child.writeZeroes(offset, length, flags & ~Flag.NoFallback) }),
    })
  }

  /** Flushes all children; succeeds if the threshold of them did. */
  async flush(): Promise<void> {
    const results = await Promise.allSettled(this.#children.map((child) => child.flush()))
    this.#reportFailures('flush', nowhere, results)
    this.#demandEnough('flush', nowhere, results)
  }

  /** Zeroes where all children say so, else data: children may disagree about everything else. */
  async blockStatus(offset: number, length: number, signal?: AbortSignal): Promise<BlockStatus> {
    const results = await Promise.allSettled(this.#children.map((child) => child.chainStatus(offset, length, signal)))
    throwIfAborted(signal)
    this.#reportFailures('read', { offset, length }, results)
    let zeroLength = length
    let dataLength = 0
    for (const result of results) {
      if (result.status === 'rejected') dataLength = length
      else if (result.value.zero) zeroLength = Math.min(zeroLength, result.value.length)
      else dataLength = Math.max(dataLength, result.value.length)
    }
    const zero = dataLength === 0
    return { length: zero ? zeroLength : dataLength, data: !zero, zero, allocated: true }
  }

  /** The space that all children take together. */
  async info(): Promise<DriverInfo> {
    const infos = await Promise.all(this.#children.map((child) => child.info()))
    if (infos.some(({ allocatedSize }) => allocatedSize === undefined)) return {}
    return { allocatedSize: infos.reduce((sum, { allocatedSize = 0 }) => sum + allocatedSize, 0) }
  }

  checkChild(name: string, child: { readonly size: number } | undefined): void {
    const { blkverify, voteThreshold } = this.#settings
    const present = this.#host.children.get(name) !== undefined
    if (child === undefined) {
      if (!present || this.#children.length > voteThreshold) return
      throw new BlockError('EINVAL', `The number of children cannot be lower than the vote threshold ${voteThreshold}`)
    }
    if (!present && blkverify) throw new BlockError('EINVAL', 'Cannot add a child to a quorum in blkverify mode')
    if (child.size !== this.size) {
      throw new BlockError('EINVAL', `cannot add a child of ${child.size} bytes to a quorum of ${this.size} bytes`)
    }
  }

  childrenChanged(): void {
    this.#children = this.#host.children.list('children')
  }

  /** Reads from the first child that can. */
  async #readFirst(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    let failure: unknown
    for (const child of this.#children) {
      try {
        return await child.read(offset, buf, flags, signal)
      } catch (error) {
        throwIfAborted(signal)
        this.#reportBad('read', { offset, length: buf.length }, child, errorCodeOf(error))
        failure = error
      }
    }
    throw failure
  }

  async #readAll(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    const range = { offset, length: buf.length }
    const copies = this.#children.map((_, i) => (i === 0 ? buf : twinOf(buf)))
    const results = await Promise.allSettled(
      this.#children.map((child, i) => child.read(offset, copies[i] as Uint8Array, flags, signal)),
    )
    throwIfAborted(signal)
    this.#reportFailures('read', range, results)
    this.#demandEnough('read', range, results)
    const versions = countVotes(
      copies.map((copy, i) => (results[i]?.status === 'fulfilled' ? copy : undefined)),
      same,
    )
    const winner = versions.length === 1 ? versions[0] : await this.#settle(range, versions)
    if (winner !== undefined && winner.value !== buf) buf.set(winner.value)
  }

  /** The version that wins over others; whoever has another is reported and, if so configured, corrected. */
  async #settle(range: Range, versions: readonly Version<Uint8Array>[]): Promise<Version<Uint8Array>> {
    const { blkverify, rewriteCorrupted, voteThreshold } = this.#settings
    if (blkverify) throw mismatch(range, versions)
    const winner = winnerOf(versions) as Version<Uint8Array>
    if (winner.voters.length < voteThreshold) {
      this.#reportFailure(range)
      throw new BlockError(
        'EIO',
        `quorum: ${versions.length} different versions of ${range.length} bytes at ${range.offset}, ` +
          `and none that ${voteThreshold} children have`,
      )
    }
    const losers = versions.flatMap((version) => (version === winner ? [] : version.voters))
    const bad = losers.sort((a, b) => a - b).map((index) => this.#children[index] as ChildHandle)
    for (const child of bad) this.#reportBad('read', range, child)
    if (rewriteCorrupted) {
      await Promise.allSettled(bad.map((child) => child.write(range.offset, winner.value, Flag.Unchanged)))
    }
    return winner
  }

  /**
   * Runs a change on all children. With `otherwise`, children that answer ENOTSUP while others succeed are changed by
   * that instead; if all answer ENOTSUP so does the quorum, and nobody is reported.
   */
  async #change(
    range: Range,
    request: (child: ChildHandle) => Promise<void>,
    { otherwise }: { readonly otherwise?: (child: ChildHandle) => Promise<void> } = {},
  ): Promise<void> {
    const hold = await this.#lock.acquire(range.offset, range.length, true)
    try {
      let results = await Promise.allSettled(this.#children.map(request))
      if (otherwise !== undefined) results = await this.#changeOtherwise(results, otherwise)
      this.#reportFailures('write', range, results)
      this.#demandEnough('write', range, results)
    } finally {
      this.#lock.release(hold)
    }
  }

  #changeOtherwise(
    results: PromiseSettledResult<void>[],
    otherwise: (child: ChildHandle) => Promise<void>,
  ): Promise<PromiseSettledResult<void>[]> {
    const lacking = (result: PromiseSettledResult<void>): boolean =>
      result.status === 'rejected' && errorCodeOf(result.reason) === 'ENOTSUP'
    if (results.every(lacking)) throw (results[0] as PromiseRejectedResult).reason
    return Promise.allSettled(
      results.map((result, i) => {
        if (lacking(result)) return otherwise(this.#children[i] as ChildHandle)
        return result.status === 'fulfilled' ? undefined : Promise.reject(result.reason)
      }),
    )
  }

  /** Throws the error that most failed children have, unless the threshold of all succeeded. */
  #demandEnough(operation: Operation, range: Range, results: readonly PromiseSettledResult<unknown>[]): void {
    const { voteThreshold } = this.#settings
    const succeeded = results.filter(({ status }) => status === 'fulfilled').length
    if (succeeded >= voteThreshold) return
    if (operation !== 'flush') this.#reportFailure(range)
    const codes = results.map((result) => (result.status === 'rejected' ? errorCodeOf(result.reason) : undefined))
    const code = winnerOf(countVotes(codes, (a, b) => a === b))?.value ?? 'EIO'
    const cause = results.find((result) => result.status === 'rejected')?.reason
    throw new BlockError(
      code,
      `quorum: ${operation} succeeded on ${succeeded} of ${results.length} children, ${voteThreshold} are needed: ` +
        describeErrorCode(code),
      { cause },
    )
  }

  #reportFailures(operation: Operation, range: Range, results: readonly PromiseSettledResult<unknown>[]): void {
    for (const [i, result] of results.entries()) {
      if (result.status === 'fulfilled') continue
      this.#reportBad(operation, range, this.#children[i] as ChildHandle, errorCodeOf(result.reason))
    }
  }

  /** Raises the event about one child: it failed with `code`, or has the wrong content. */
  #reportBad(type: Operation, range: Range, child: ChildHandle, code?: ErrorCode): void {
    this.#host.emit('QUORUM_REPORT_BAD', {
      type,
      ...(code === undefined ? {} : { error: describeErrorCode(code) }),
      nodeName: child.nodeName,
      ...sectorsOf(range),
    })
  }

  #reportFailure(range: Range): void {
    this.#host.emit('QUORUM_FAILURE', { reference: this.#host.nodeName, ...sectorsOf(range) })
  }
}

/** The range in sectors of 512 bytes, as the events have it. */
function sectorsOf({ offset, length }: Range): { readonly sectorNum: number; readonly sectorsCount: number } {
  const sectorNum = Math.floor(offset / 512)
  return { sectorNum, sectorsCount: Math.ceil((offset + length) / 512) - sectorNum }
}

function mismatch({ offset, length }: Range, versions: readonly Version<Uint8Array>[]): BlockError {
  const [one, other] = versions as readonly [Version<Uint8Array>, Version<Uint8Array>]
  const at = offset + firstDifference(one.value, other.value)
  return new BlockError('EIO', `quorum: offset=${offset} bytes=${length} contents mismatch at offset ${at}`)
}
