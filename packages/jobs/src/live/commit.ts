/**
 * `commit` as a live job: writes layers of a disk down into a lower one while the disk is in use.
 *
 * Layers below the active one are read only, so what they hold is copied once, and the layer above gets the base as its
 * backing file. The active layer is written to meanwhile: its commit is a mirror whose target is a layer of its own
 * chain. Either way only such ranges of the base are written as the layers above cover.
 */
import { BlockError, type Change, type Disk, Flag, type Graph, type Node, Permission } from '@diskgraph/core'
import { chainStatus } from '@diskgraph/core/internal'
import { endWriting, setReadOnly, unfiltered } from '../disk/chain.ts'
import type { Range } from '../engine/source.ts'
import { reading, Transfer } from '../engine/transfer.ts'
import type { Job, JobWork } from '../job/job.ts'
import type { JobTable } from '../job/job-table.ts'
import type { ErrorPolicy, JobSettings } from '../job/settings.ts'
import { recordBacking } from './backing.ts'
import { Mirror } from './mirror.ts'
import { blockNodes, chainOf, findNodeByName, jobRoot, refuseBusy } from './nodes.ts'
import { copyDirty } from './passes.ts'
import { startJob } from './start.ts'
import { Units } from './units.ts'

/** What {@link startCommit} takes; QMP's `block-commit`. */
export interface CommitJobOptions extends JobSettings {
  /** The disk. */
  readonly device: Node | string
  /** The layer that is written to. Default: the lowest. */
  readonly baseNode?: Node | string | undefined
  /** The same by the name of its file. */
  readonly base?: string | undefined
  /** The highest layer that is written down. Default: the active one. */
  readonly topNode?: Node | string | undefined
  /** The same by the name of its file. */
  readonly top?: string | undefined
  /** What the layer above `top` records as the name of its backing file. Default: the base's. */
  readonly backingFile?: string | undefined
  /** Default `report`. */
  readonly onError?: ErrorPolicy | undefined
  /** The name of the filter over the active layer. */
  readonly filterNodeName?: string | undefined
}

/** Starts a commit. One of the active layer becomes ready, and by `complete()` the users of the disk go over to the base. */
export function startCommit(jobs: JobTable, options: CommitJobOptions): Promise<Job> {
  const { graph } = jobs
  return startJob(jobs, 'commit', options, async (job, change) => {
    const device = typeof options.device === 'string' ? graph.find(options.device) : options.device
    if (device === undefined) throw new BlockError('ENOENT', `Device '${String(options.device)}' not found`)
    const layers = findLayers(graph, device, options)
    const { top, base, above } = layers
    if (above === undefined && options.backingFile !== undefined) {
      throw new BlockError('EINVAL', "'backing-file' specified, but 'top' is the active layer")
    }
    for (const node of [device, ...layers.layers, base]) refuseBusy(node)
    const work =
      above === undefined ? activeCommit(jobs, device, base, options) : new Commit(jobs, { ...layers, above }, options)
    const wasReadOnly = base.readOnly
    if (wasReadOnly) await setReadOnly(change, base, false)
    try {
      await change.drain(base)
      if (base.size < top.size) await base.truncate(top.size, { zero: true })
      await work.enter(job, change, wasReadOnly)
      await change.commit()
    } catch (error) {
      if (wasReadOnly) await endWriting(change, base).catch((failure) => graph.warn(String(failure)))
      throw error
    }
    return work
  })
}

interface Layers {
  readonly top: Node
  readonly base: Node
  /** From the top down to, and without, the base. */
  readonly layers: readonly Node[]
  /** The layer whose backing file `top` is; undefined: `top` is the active one. */
  readonly above: Node | undefined
}

/** Of a commit of layers below the active one. */
type InnerLayers = Layers & { readonly above: Node }

function findLayers(graph: Graph, device: Node, options: CommitJobOptions): Layers {
  const invalid = (message: string): BlockError => new BlockError('EINVAL', message)
  const { topNode, top: topName, baseNode, base: baseName } = options
  if (topNode !== undefined && topName !== undefined) throw invalid("'top-node' and 'top' are mutually exclusive")
  if (baseNode !== undefined && baseName !== undefined) throw invalid("'base-node' and 'base' are mutually exclusive")
  const chain = chainOf(device)
  const [active] = chain as [Node]
  const topIndex =
    topNode !== undefined
      ? chain.indexOf(unfiltered(findNodeByName(graph, topNode)))
      : topName === undefined
        ? 0
        : chain.findIndex(({ filename }) => filename === topName)
  if (topIndex < 0) {
    if (topName !== undefined) throw invalid(`Top image file ${topName} not found`)
    throw invalid(`'${nameOf(topNode)}' is not in this backing file chain`)
  }
  const top = chain[topIndex] as Node
  let base = chain[chain.length - 1] as Node
  if (baseNode !== undefined) base = unfiltered(findNodeByName(graph, baseNode))
  if (baseName !== undefined) {
    const found = chain.slice(topIndex).find(({ filename }) => filename === baseName)
    if (found === undefined) throw invalid(`Can't find '${baseName}' in the backing chain`)
    base = found
  }
  if (base === top || (base === active && topNode === undefined)) throw invalid('cannot commit an image into itself')
  const baseIndex = chain.indexOf(base)
  if (baseIndex <= topIndex) throw invalid(`'${base.name}' is not in this backing file chain`)
  return { top, base, layers: chain.slice(topIndex, baseIndex), above: chain[topIndex - 1] }
}

function nameOf(node: Node | string | undefined): string {
  return typeof node === 'object' ? node.name : String(node)
}

/** A mirror of the active layer into `base`. */
function activeCommit(jobs: JobTable, device: Node, base: Node, options: CommitJobOptions): Mirror {
  const { onError, filterNodeName } = options
  return new Mirror(jobs, device, base, {
    device,
    target: base,
    sync: 'top',
    onSourceError: onError,
    onTargetError: onError,
    filterNodeName,
    base,
    replaces: undefined,
  })
}

class Commit implements JobWork {
  readonly #jobs: JobTable
  readonly #layers: InnerLayers
  readonly #options: CommitJobOptions
  #roots: { readonly source: Disk; readonly target: Disk } | undefined
  #unblock: (() => void)[] = []
  #wasReadOnly = false

  constructor(jobs: JobTable, layers: InnerLayers, options: CommitJobOptions) {
    this.#jobs = jobs
    this.#layers = layers
    this.#options = options
  }

  async enter(job: Job, change: Change, wasReadOnly: boolean): Promise<void> {
    const { graph } = this.#jobs
    const { top, base, layers, above } = this.#layers
    const { ConsistentRead, WriteUnchanged } = Permission
    this.#wasReadOnly = wasReadOnly
    this.#roots = {
      source: await jobRoot(change, graph, top, job, { name: 'main node' }),
      target: await jobRoot(change, graph, base, job, {
        name: 'base node',
        permissions: ConsistentRead | WriteUnchanged,
      }),
    }
    this.#unblock.push(blockNodes(change, graph, [above, ...layers, base], 'commit'))
    const thaw = graph.freezeChain(above, base, 'a commit reads through it')
    change.onUndo(thaw)
    this.#unblock.push(thaw)
  }

  async run(job: Job): Promise<void> {
    const { source, target } = this.#roots as { source: Disk; target: Disk }
    const { top, base, above } = this.#layers
    const { onError = 'report' } = this.#options
    const { clusterSize = 65536 } = await target.info()
    const { signal } = job
    const transfer = new Transfer({
      source: { read: (offset, buf) => reading('read', offset, () => source.read(offset, buf, 0, signal)) },
      target,
      zeroUnit: 0,
      targetIsZero: false,
      writeFlags: Flag.Unchanged,
      signal,
    })
    // Behind its end the layer above sees zeroes, and would see the rest of a longer base instead.
    const size = Math.max(top.size, Math.min(base.size, above.size))
    const contentAt = async (offset: number, length: number): Promise<Omit<Range, 'offset'>> => {
      if (offset >= top.size) return { content: 'zero', length }
      const extent = await reading('status', offset, () => chainStatus(top, base, offset, length, signal))
      return { content: !extent.present ? 'absent' : extent.zero ? 'zero' : 'data', length: extent.length }
    }
    const units = new Units({ size, granularity: Math.max(4096, clusterSize), transfer, contentAt })
    units.onCopied = (length) => job.advance(length)
    units.dirty.set(0, size)
    job.setRemaining(size)
    await copyDirty({ job, units, workers: 8, policy: () => onError })
  }

  /** The layer above gets the base as its backing file. */
  async prepare(): Promise<void> {
    const { graph } = this.#jobs
    const { base, above } = this.#layers
    await (this.#roots as { target: Disk }).target.flush()
    await graph.change(async (change) => {
      await change.drain(above)
      this.#release()
      const reopened = above.readOnly
      if (reopened) await setReadOnly(change, above, false)
      try {
        await recordBacking(above, base, this.#options.backingFile)
        await this.#letGo(change)
        await change.setBacking(above, base)
        await change.commit()
      } finally {
        if (reopened) await endWriting(change, above)
      }
    })
  }

  async end(): Promise<void> {
    await this.#jobs.graph.change(async (change) => {
      this.#release()
      await this.#letGo(change)
      await change.commit()
      if (this.#wasReadOnly) await endWriting(change, this.#layers.base)
    })
  }

  async #letGo(change: Change): Promise<void> {
    for (const root of Object.values(this.#roots ?? {})) await change.detach(root)
  }

  #release(): void {
    for (const release of this.#unblock.splice(0)) release()
  }
}
