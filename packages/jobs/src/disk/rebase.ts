/**
 * Gives an image another backing file, and keeps its content: where the image has no data of its own, old and new
 * backing file are compared, and what differs is written into the image before the reference changes. Layers that both
 * chains share are not compared.
 */
import { BlockError, type Disk, Flag, type Node, Permission } from '@diskgraph/core'
import { toBlockError } from '@diskgraph/core/driver'
import { chainStatus, checkSettings, due, TimeSlice } from '@diskgraph/core/internal'
import { checkDisk, workRules } from '../engine/arguments.ts'
import { areEqual, isZeroRange } from '../engine/bytes.ts'
import { chunkLength } from '../engine/copier.ts'
import { RateLimit } from '../engine/rate-limit.ts'
import { type FailedRequest, JobError, type JobOptions, runJob } from '../engine/work.ts'
import { unfiltered } from './chain.ts'

/** What an image records of its backing file. */
export interface BackingReference {
  /** As it stands in the image: relative to it, mostly. Undefined or empty: the image has no backing file any more. */
  readonly filename: string | undefined
  readonly format: string | undefined
}

/**
 * Rebases `overlay` onto `backing` (undefined: onto nothing), a disk of the same graph that may be a layer of the
 * overlay's chain, and records `reference`. Reads of the overlay give what they gave; they and writes wait meanwhile. The backing disk stays the
 * caller's.
 */
export function rebase(
  overlay: Disk,
  backing: Disk | undefined,
  reference: BackingReference,
  options: JobOptions = {},
): Promise<void> {
  return runJob(options, async () => {
    checkSettings('rebase', workRules, options)
    checkDisk('the overlay of rebase', overlay)
    if (backing !== undefined) checkDisk('the backing disk of rebase', backing)
    checkReference('rebase', reference)
    if (backing !== undefined && (backing.edge.permissions & Permission.Write) !== 0) {
      const message = `cannot rebase ${overlay.describe()} onto ${backing.describe()}: that is open for writing`
      throw new BlockError('EPERM', message, { hint: 'open the backing disk with readOnly' })
    }
    const work = new Rebase(overlay, backing, options)
    // Whoever uses the disk waits: what it writes must not be overwritten with what was there before.
    await overlay.graph.drained(unfiltered(overlay.node), () => work.run())
    await overlay.flush(options.signal)
    await changeBacking(overlay, reference, backing?.node)
  })
}

/**
 * Records another backing file in the image of `overlay` without a look at what either holds. In the graph `backing`
 * (undefined: nothing) becomes its backing file.
 */
export async function changeBacking(overlay: Disk, reference: BackingReference, backing?: Node): Promise<void> {
  checkDisk('the overlay of changeBacking', overlay)
  checkReference('changeBacking', reference)
  const { filename, format } = reference
  const node = unfiltered(overlay.node)
  const { image } = node
  const attempt = `Could not change the backing file to '${filename ?? '(null)'}'`
  const change = image.changeBacking?.bind(image)
  if (change === undefined) throw new BlockError('ENOTSUP', `${attempt}: Operation not supported`)
  const recorded = filename === '' ? undefined : filename
  if (recorded !== undefined && format === undefined) {
    throw new BlockError('EINVAL', `${attempt}: backing format must be specified`)
  }
  try {
    await overlay.graph.drained(node, async (stage) => {
      await change(recorded, recorded === undefined ? undefined : format)
      if (node.backing?.node !== backing) await stage.setBacking(node, backing)
    })
  } catch (error) {
    const cause = toBlockError(error)
    throw new BlockError(cause.code, `${attempt}: ${cause.message}`, { cause })
  }
}

function checkReference(call: string, reference: BackingReference): void {
  checkSettings(`the reference of ${call}`, { filename: due.text, format: due.text }, reference)
}

class Rebase {
  readonly #disk: Disk
  readonly #node: Node
  readonly #backing: Disk | undefined
  /** The new backing file as a layer of the old chain, when it is one: what only it and layers below hold is equal. */
  readonly #shared: Node | undefined
  readonly #options: JobOptions
  readonly #limit: RateLimit | undefined

  constructor(disk: Disk, backing: Disk | undefined, options: JobOptions) {
    this.#disk = disk
    this.#node = unfiltered(disk.node)
    this.#backing = backing
    this.#shared = backing !== undefined && isBelow(this.#node, backing.node) ? backing.node : undefined
    this.#options = options
    this.#limit =
      options.speed === undefined ? undefined : new RateLimit(disk.graph.clock, options.speed, options.signal)
  }

  async run(): Promise<void> {
    const { onProgress, signal } = this.#options
    const total = this.#disk.size
    // Differences are written in units of so many bytes.
    const { clusterSize: unit = 65536 } = await this.#node.info()
    const buffers = [new Uint8Array(chunkLength), new Uint8Array(chunkLength)] as const
    const slice = new TimeSlice(this.#disk.graph.clock, signal)
    onProgress?.({ done: 0, total })
    for (let at = 0; at < total; ) {
      await slice.end()
      at += await this.#step(at, unit, buffers)
      onProgress?.({ done: at, total })
    }
  }

  /** Deals with what begins at `offset`; the result is how far it reaches. */
  async #step(offset: number, unit: number, buffers: readonly [Uint8Array, Uint8Array]): Promise<number> {
    const own = await this.#status(offset, () => this.#node.blockStatus(offset, this.#disk.size - offset))
    const old = this.#node.backing
    const shared = this.#shared
    if (own.allocated || (shared !== undefined && old?.node === shared)) return own.length
    let length = Math.min(own.length, chunkLength)
    if (shared !== undefined && old !== undefined && offset < old.size) {
      const rest = Math.min(length, old.size - offset)
      const above = await this.#status(offset, () =>
        chainStatus(this.#node, shared, offset, rest, this.#options.signal),
      )
      length = above?.length ?? rest
      if (above?.present === false) return length
    }
    await this.#limit?.wait(length)
    await this.#compare(offset, unit, buffers[0].subarray(0, length), buffers[1].subarray(0, length))
    return length
  }

  async #status<T>(offset: number, ask: () => Promise<T>): Promise<T> {
    try {
      return await ask()
    } catch (error) {
      throw new JobError({ operation: 'status', disk: 'source', offset }, error)
    }
  }

  async #compare(offset: number, unit: number, before: Uint8Array, after: Uint8Array): Promise<void> {
    const { signal } = this.#options
    await failing({ operation: 'read', disk: 'source', offset }, async () => {
      await this.#node.read(offset, before, 0, signal)
      // Behind its end, or where there is none, a backing file reads as zeroes.
      const known = Math.min(after.length, Math.max(0, (this.#backing?.size ?? 0) - offset))
      after.fill(0, known)
      if (known > 0) await this.#backing?.read(offset, after.subarray(0, known), 0, signal)
    })
    let start = -1
    for (let at = 0; at < before.length; ) {
      const next = Math.min(before.length, (Math.floor((offset + at) / unit) + 1) * unit - offset)
      const equal = areEqual(before.subarray(at, next), after.subarray(at, next))
      if (!equal && start < 0) start = at
      if (equal && start >= 0) {
        await this.#write(offset + start, before.subarray(start, at))
        start = -1
      }
      at = next
    }
    if (start >= 0) await this.#write(offset + start, before.subarray(start))
  }

  #write(offset: number, buf: Uint8Array): Promise<void> {
    return failing({ operation: 'write', disk: 'target', offset }, () =>
      isZeroRange(buf, 0, buf.length)
        ? this.#storeZeroes(offset, buf)
        : this.#node.write(offset, buf, 0, this.#options.signal),
    )
  }

  /** Writes zeroes that stay: without a backing file an image may take them for granted, until it has one. */
  async #storeZeroes(offset: number, buf: Uint8Array): Promise<void> {
    const { signal } = this.#options
    await this.#node.writeZeroes(offset, buf.length, Flag.MayUnmap, signal)
    for (let at = 0; at < buf.length; ) {
      const { allocated, length } = await this.#node.blockStatus(offset + at, buf.length - at, signal)
      const end = Math.min(buf.length, at + length)
      if (!allocated) await this.#node.write(offset + at, buf.subarray(at, end), 0, signal)
      at = end
    }
  }
}

function isBelow(node: Node, layer: Node): boolean {
  const below = unfiltered(node).backing?.node
  return below !== undefined && (below === layer || isBelow(below, layer))
}

async function failing(request: FailedRequest, work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    throw new JobError(request, error)
  }
}
