/** `stream`: brings what a disk has of its backing files into the disk itself, while it is in use. */
import { BlockError, type Change, type Disk, Flag, type Graph, type Node } from '@diskgraph/core'
import { type ChildHandle, type DriverDescriptor, Passthrough, Permission } from '@diskgraph/core/driver'
import { chainStatus } from '@diskgraph/core/internal'
import { endWriting, setReadOnly, unfiltered } from '../disk/chain.ts'
import type { Range } from '../engine/source.ts'
import { reading, Transfer } from '../engine/transfer.ts'
import type { Job, JobWork } from '../job/job.ts'
import type { JobTable } from '../job/job-table.ts'
import type { ErrorPolicy, JobSettings } from '../job/settings.ts'
import { checkStart } from './arguments.ts'
import { recordBacking } from './backing.ts'
import {
  blockNodes,
  chainOf,
  contentOperations,
  findLayerBelow,
  findNode,
  findNodeByName,
  type Insertion,
  insertFilter,
  jobRoot,
  refuseBusyChain,
  wholeChainOf,
} from './nodes.ts'
import { copyDirty } from './passes.ts'
import { startJob } from './start.ts'
import { Units } from './units.ts'

/** What {@link startStream} takes; QMP's `block-stream`. */
export interface StreamJobOptions extends JobSettings {
  /** The image that gets the data: a disk, or a layer of one. */
  readonly device: Node | string
  /** The layer that stays the backing file, by the name of its file. Default: none does. */
  readonly base?: string | undefined
  /** The same by node. */
  readonly baseNode?: Node | string | undefined
  /** The lowest layer that goes, instead of a base. */
  readonly bottom?: Node | string | undefined
  /** What the image records as the name of its backing file. Default: the base's. */
  readonly backingFile?: string | undefined
  /** Default `report`. */
  readonly onError?: ErrorPolicy | undefined
  /** The name of the filter over the image. */
  readonly filterNodeName?: string | undefined
}

const optionNames = ['device', 'base', 'baseNode', 'bottom', 'backingFile', 'onError', 'filterNodeName']

/** Starts a stream. When it has ended the image has the base, or nothing, as its backing file. */
export async function startStream(jobs: JobTable, options: StreamJobOptions): Promise<Job> {
  checkStart('startStream', jobs, options, optionNames)
  const { graph } = jobs
  return startJob(jobs, 'stream', options, async (change, make) => {
    const top = findNode(graph, options.device)
    const { last, base } = await findLast(graph, top, options)
    if (last.backing === undefined && options.backingFile !== undefined) {
      throw new BlockError('EINVAL', 'backing file specified, but streaming the entire chain')
    }
    refuseBusyChain(top, last)
    if (base !== undefined) refuseCommitted(last, base)
    const work = new Stream(jobs, top, last, options)
    await work.enter(make(), change)
    return work
  })
}

/** The lowest layer that goes, the one above the base, or the image itself, where none does; the base, if it was given. */
interface LastLayer {
  readonly last: Node
  readonly base?: Node
}

async function findLast(graph: Graph, top: Node, options: StreamJobOptions): Promise<LastLayer> {
  const { base, baseNode, bottom } = options
  const invalid = (message: string): BlockError => new BlockError('EINVAL', message)
  const given = Object.entries({ base, 'base-node': baseNode, bottom }).filter(([, value]) => value !== undefined)
  if (given.length > 1) {
    const order = bottom === undefined ? given : [given[given.length - 1], given[0]]
    const [one, other] = order.map((entry) => entry?.[0])
    throw invalid(`'${one}' and '${other}' cannot be specified at the same time`)
  }
  const layers = chainOf(top)
  const below = layers.slice(1)
  if (base !== undefined) {
    const found = await findLayerBelow(layers, base)
    if (found === undefined) throw invalid(`Can't find '${base}' in the backing chain`)
    return layerAbove(layers, found)
  }
  if (baseNode !== undefined) {
    const node = findNodeByName(graph, baseNode)
    if (below.includes(unfiltered(node))) return layerAbove(layers, node)
    throw invalid(`Node '${node.name}' is not a backing image of '${top.name}'`)
  }
  if (bottom === undefined) return { last: layers[layers.length - 1] as Node }
  const node = findNodeByName(graph, bottom)
  if (below.includes(unfiltered(node))) return { last: unfiltered(node) }
  throw invalid(`Node '${node.name}' is not in a chain starting from '${top.name}'`)
}

/** `base`, a layer or a filter over one, and the layer that has it as its backing file. */
function layerAbove(layers: readonly Node[], base: Node): LastLayer {
  return { last: layers[layers.indexOf(unfiltered(base)) - 1] as Node, base }
}

/** EPERM where a commit holds the link between `last` and `base`, which is to go. */
function refuseCommitted(last: Node, base: Node): void {
  const filters = wholeChainOf(last).slice(1)
  const commit = filters.slice(0, filters.indexOf(base)).find(({ driver }) => driver.name === 'commit_top')
  if (commit === undefined) return
  throw new BlockError('EPERM', `Cannot freeze 'backing' link to '${commit.name}'`, { node: commit.name })
}

/** As QEMU: what is told of an error depends on it. */
const chunk = 524_288

class Stream implements JobWork {
  readonly #jobs: JobTable
  readonly #top: Node
  readonly #image: Node
  readonly #last: Node
  readonly #options: StreamJobOptions
  /** The image was opened for reading. */
  readonly #wasReadOnly: boolean
  #insertion: Insertion | undefined
  #filter: StreamImage | undefined
  readonly #release: (() => void)[] = []
  /** The job as a user of the layers that go. */
  readonly #layers: Disk[] = []

  constructor(jobs: JobTable, top: Node, last: Node, options: StreamJobOptions) {
    this.#jobs = jobs
    this.#top = top
    this.#image = unfiltered(top)
    this.#last = last
    this.#options = options
    this.#wasReadOnly = top.readOnly
  }

  async enter(job: Job, change: Change): Promise<void> {
    const { graph } = this.#jobs
    const chain = chainOf(this.#image)
    const layers = chain.slice(1, chain.indexOf(this.#last) + 1)
    if (this.#wasReadOnly) await setReadOnly(change, this.#image, false)
    try {
      await this.#stage(job, change, layers)
      const thaw = graph.freezeChain(this.#image, this.#last, 'a stream reads through it')
      change.onUndo(thaw)
      this.#release.push(thaw)
      await change.commit()
    } catch (error) {
      if (this.#wasReadOnly) await endWriting(change, this.#image)
      throw error
    }
  }

  async #stage(job: Job, change: Change, layers: readonly Node[]): Promise<void> {
    const { graph } = this.#jobs
    const { clusterSize = 65536 } = await this.#image.info()
    const make = (file: ChildHandle): StreamImage => {
      this.#filter = new StreamImage(file, this.#image, this.#last, clusterSize)
      return this.#filter
    }
    const filter = { driver: streamDriver(make), nodeName: this.#options.filterNodeName }
    this.#insertion = await insertFilter(change, graph, { source: this.#top }, filter, job)
    job.announce()
    // Nobody may change what has yet to be copied.
    const use = { name: 'intermediate node', shared: Permission.ConsistentRead | Permission.WriteUnchanged }
    for (const layer of layers) this.#layers.push(await jobRoot(change, graph, layer, job, use))
    // A commit that ends below them gives the last one another backing file.
    this.#release.push(blockNodes(change, graph, layers, job, contentOperations))
    change.afterCommit(() => this.#begin(job))
  }

  #begin(job: Job): void {
    if (this.#image === this.#last) return
    const { units } = this.#filter as StreamImage
    units.onCopied = (length) => job.advance(length)
    units.dirty.set(0, units.dirty.size)
    job.setRemaining(units.dirty.size)
  }

  async run(job: Job): Promise<void> {
    if (this.#image === this.#last) return
    const { units } = this.#filter as StreamImage
    const { root } = this.#insertion as Insertion
    const { onError = 'report' } = this.#options
    let ignored: { readonly error: unknown } | undefined
    await copyDirty({
      job,
      units,
      counted: (copy) => root.whileCounted(copy),
      workers: 1,
      policy: () => onError,
      leaveOut: (error) => {
        ignored ??= { error }
      },
    })
    if (ignored !== undefined) throw ignored.error
  }

  /** The backing file goes, in the image and in the graph. */
  async prepare(): Promise<void> {
    const insertion = this.#insertion as Insertion
    const image = this.#image
    if (image === this.#last) return
    await insertion.leave(undefined, async (change) => {
      await this.#letGo(change)
      await change.remove(insertion.filter)
      // Another job may have given the last layer another backing file meanwhile.
      const base = this.#last.backing?.node
      await recordBacking(image, base, this.#options.backingFile)
      await change.setBacking(image, base)
      await this.#restore(change)
    })
  }

  async end(): Promise<void> {
    const insertion = this.#insertion as Insertion
    await insertion.leave(undefined, async (change) => {
      await this.#letGo(change)
      await change.remove(insertion.filter)
      await this.#restore(change)
    })
  }

  async #letGo(change: Change): Promise<void> {
    for (const release of this.#release) release()
    for (const root of this.#layers) await change.detach(root)
  }

  async #restore(change: Change): Promise<void> {
    await change.commit()
    if (!this.#wasReadOnly) return
    try {
      await endWriting(change, this.#image)
    } catch (error) {
      // Somebody writes to it by now: that it was read-only is past, and the stream has done its work.
      this.#image.warn(`${this.#image.describe()} stays writable: ${(error as Error).message}`)
    }
  }
}

/** Stands over the image while it is filled: what is copied must not come between a guest's write and its end. */
class StreamImage extends Passthrough {
  readonly units: Units

  /** `last`: the lowest layer that is read. */
  constructor(file: ChildHandle, image: Node, last: Node, granularity: number) {
    super(file)
    const transfer = new Transfer({
      source: { read: (offset, buf) => reading('read', offset, () => file.read(offset, buf)) },
      target: file,
      zeroUnit: 0,
      targetIsZero: false,
      writeFlags: Flag.Unchanged,
      unmap: last.backing === undefined,
    })
    const contentAt = async (offset: number, length: number): Promise<Omit<Range, 'offset'>> => {
      const status = await reading('status', offset, () => image.imageStatus(offset, length))
      if (status.allocated) return { content: 'absent', length: status.length }
      // Behind the end of a shorter layer there are zeroes, which the image says of itself.
      const extent = await reading('status', offset, () =>
        chainStatus(image, last.backing?.node, offset, status.length),
      )
      const own = !extent.present
      return { content: own ? 'absent' : extent.zero ? 'zero' : 'data', length: extent.length }
    }
    this.units = new Units({ size: file.size, granularity, transfer, contentAt, longest: chunk })
  }

  /** What is read anyway is kept. Where it cannot be, the job will try again, and the read is as good. */
  override async read(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    if (this.units.holdsDirty(offset, buf.length)) await this.units.copy(offset, buf.length).catch(() => undefined)
    await super.read(offset, buf, flags, signal)
  }

  override write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    return this.#change(offset, buf.length, () => super.write(offset, buf, flags, signal))
  }

  override writeZeroes(offset: number, length: number, flags: number, signal?: AbortSignal): Promise<void> {
    return this.#change(offset, length, () => super.writeZeroes(offset, length, flags, signal))
  }

  override discard(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    return this.#change(offset, length, () => super.discard(offset, length, signal))
  }

  async #change(offset: number, length: number, change: () => Promise<void>): Promise<void> {
    const hold = await this.units.lock.acquire(offset, length, false)
    try {
      await change()
    } finally {
      this.units.lock.release(hold)
    }
  }
}

function streamDriver(make: (file: ChildHandle) => StreamImage): DriverDescriptor {
  const { All, ConsistentRead, WriteUnchanged } = Permission
  return {
    name: 'copy-on-read',
    kind: 'filter',
    description: 'Stands over an image while a job fills it.',
    options: { file: { type: 'child', role: 'filtered', required: true, description: 'The image' } },
    formatFilename: (_options, { file }) => file,
    childPermissions: (_child, permissions, shared) =>
      permissions === 0
        ? { permissions: 0, shared: All }
        : { permissions: permissions | ConsistentRead | WriteUnchanged, shared },
    open: async ({ children }) => make(children.require('file')),
  }
}
