/**
 * `commit` as a live job: writes layers of a disk down into a lower one while the disk is in use.
 *
 * Layers below the active one are read only, so what they hold is copied once, and the layer above gets the base as its
 * backing file. The active layer is written to meanwhile: its commit is a mirror whose target is a layer of its own
 * chain. Either way only such ranges of the base are written as the layers above cover.
 */
import { BlockError, type Change, type Disk, Flag, type Graph, type Node, Permission } from '@diskgraph/core'
import { type DriverDescriptor, Passthrough } from '@diskgraph/core/driver'
import { chainStatus } from '@diskgraph/core/internal'
import { endWriting, setReadOnly, unfiltered } from '../disk/chain.ts'
import type { Range } from '../engine/source.ts'
import { reading, Transfer } from '../engine/transfer.ts'
import type { Job, JobWork } from '../job/job.ts'
import type { JobTable } from '../job/job-table.ts'
import type { ErrorPolicy, JobSettings } from '../job/settings.ts'
import { checkStart } from './arguments.ts'
import { recordBacking } from './backing.ts'
import { Mirror } from './mirror.ts'
import {
  blockNodes,
  chainOf,
  findLayerBelow,
  findNode,
  findNodeByName,
  highestOver,
  type Insertion,
  insertFilter,
  isShownAs,
  jobRoot,
  refuseBusy,
  refuseBusyChain,
} from './nodes.ts'
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

const optionNames = ['device', 'baseNode', 'base', 'topNode', 'top', 'backingFile', 'onError', 'filterNodeName']

/** Starts a commit. One of the active layer becomes ready, and by `complete()` the users of the disk go over to the base. */
export async function startCommit(jobs: JobTable, options: CommitJobOptions): Promise<Job> {
  checkStart('startCommit', jobs, options, optionNames)
  const { graph } = jobs
  return startJob(jobs, 'commit', options, async (change, make) => {
    const device = typeof options.device === 'string' ? graph.find(options.device) : options.device
    if (device === undefined) throw new BlockError('ENOENT', `Device '${String(options.device)}' not found`)
    const layers = await findLayers(graph, device, options)
    const { top, base, above } = layers
    if (above === undefined && options.backingFile !== undefined) {
      throw new BlockError('EINVAL', "'backing-file' specified, but 'top' is the active layer")
    }
    refuseBusy(device)
    refuseBusyChain(top, base)
    // It will record another backing file.
    if (above !== undefined) refuseBusy(above)
    const work =
      above === undefined
        ? activeCommit(jobs, findNode(graph, options.topNode ?? device), base, options)
        : new Commit(jobs, { ...layers, above, device }, options)
    const job = make()
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
  /** It may be a filter over the layer that is written to. */
  readonly base: Node
  /** From the top down to, and without, the base. */
  readonly layers: readonly Node[]
  /** The layer whose backing file `top` is; undefined: `top` is the active one. */
  readonly above: Node | undefined
}

/** Of a commit of layers below the active one. */
type InnerLayers = Layers & { readonly above: Node; readonly device: Node }

async function findLayers(graph: Graph, device: Node, options: CommitJobOptions): Promise<Layers> {
  const invalid = (message: string): BlockError => new BlockError('EINVAL', message)
  const { topNode, top: topName, baseNode, base: baseName } = options
  if (topNode !== undefined && topName !== undefined) throw invalid("'top-node' and 'top' are mutually exclusive")
  if (baseNode !== undefined && baseName !== undefined) throw invalid("'base-node' and 'base' are mutually exclusive")
  const chain = chainOf(device)
  const [active] = chain as [Node]
  let given: Node | undefined = active
  if (topNode !== undefined) given = unfiltered(findNodeByName(graph, topNode))
  else if (topName !== undefined && !(await isShownAs(active, topName))) given = await findLayerBelow(chain, topName)
  const topIndex = given === undefined ? -1 : chain.indexOf(given)
  if (topIndex < 0) {
    if (topName !== undefined) throw invalid(`Top image file ${topName} not found`)
    throw invalid(`'${nameOf(topNode)}' is not in this backing file chain`)
  }
  const top = chain[topIndex] as Node
  let base = chain[chain.length - 1] as Node
  if (baseNode !== undefined) base = findNodeByName(graph, baseNode)
  if (baseName !== undefined) {
    const found = await findLayerBelow(chain.slice(topIndex), baseName)
    if (found === undefined) throw invalid(`Can't find '${baseName}' in the backing chain`)
    base = found
  }
  const baseImage = unfiltered(base)
  if (baseImage === top || (baseImage === active && topNode === undefined)) {
    throw invalid('cannot commit an image into itself')
  }
  const baseIndex = chain.indexOf(baseImage)
  if (baseIndex <= topIndex) throw invalid(`'${base.name}' is not in this backing file chain`)
  return { top, base, layers: chain.slice(topIndex, baseIndex), above: chain[topIndex - 1] }
}

function nameOf(node: Node | string | undefined): string {
  return typeof node === 'object' ? node.name : String(node)
}

/** A mirror of the active layer, `device` or a filter over it, into `base`. */
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
  #insertion: Insertion | undefined
  #target: Disk | undefined
  #unblock: (() => void)[] = []
  #wasReadOnly = false

  constructor(jobs: JobTable, layers: InnerLayers, options: CommitJobOptions) {
    this.#jobs = jobs
    this.#layers = layers
    this.#options = options
  }

  async enter(job: Job, change: Change, wasReadOnly: boolean): Promise<void> {
    const { graph } = this.#jobs
    const { top, base, layers, device } = this.#layers
    const { ConsistentRead, WriteUnchanged } = Permission
    this.#wasReadOnly = wasReadOnly
    const nodeName = this.#options.filterNodeName
    const filter = { driver: commitFilter, nodeName, hidden: nodeName === undefined }
    this.#insertion = await insertFilter(change, graph, { source: top }, filter, job)
    job.announce()
    const use = { name: 'base node', permissions: ConsistentRead | WriteUnchanged }
    this.#target = await jobRoot(change, graph, base, job, use)
    this.#unblock.push(blockNodes(change, graph, [unfiltered(device), ...layers.slice(1), base], job))
    const thaw = graph.freezeChain(this.#insertion.filter, base, 'a commit reads through it')
    change.onUndo(thaw)
    this.#unblock.push(thaw)
  }

  async run(job: Job): Promise<void> {
    const { root: source } = this.#insertion as Insertion
    const target = this.#target as Disk
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
    const end = highestOver(base, top)
    const contentAt = async (offset: number, length: number): Promise<Omit<Range, 'offset'>> => {
      if (offset >= top.size) return { content: 'zero', length }
      const extent = await reading('status', offset, () => chainStatus(top, end, offset, length, signal))
      return { content: !extent.present ? 'absent' : extent.zero ? 'zero' : 'data', length: extent.length }
    }
    const units = new Units({ size, granularity: Math.max(4096, clusterSize), transfer, contentAt })
    units.onCopied = (length) => job.advance(length)
    units.dirty.set(0, size)
    job.setRemaining(size)
    // One after the other, as QEMU: what is told of an error depends on it.
    await copyDirty({ job, units, workers: 1, policy: () => onError })
  }

  /** The layer above gets the base as its backing file. */
  async prepare(): Promise<void> {
    await (this.#target as Disk).flush()
    await this.#leave(async (change) => {
      // Another job may have taken out the layer that was above.
      const { filter } = this.#insertion as Insertion
      const { base } = this.#layers
      for (const { parent, role } of [...filter.parents]) {
        if (parent.isRoot || role !== 'cow') continue
        await inWritable(change, parent, async () => {
          await recordBacking(parent, base, this.#options.backingFile)
          await change.setBacking(parent, base)
          await change.commit()
        })
      }
    })
  }

  async end(): Promise<void> {
    await this.#leave(async () => undefined)
  }

  async #leave(step: (change: Change) => Promise<void>): Promise<void> {
    const insertion = this.#insertion as Insertion
    await insertion.leave(undefined, async (change) => {
      for (const release of this.#unblock.splice(0)) release()
      await change.detach(this.#target as Disk)
      await step(change)
      await change.remove(insertion.filter)
      await change.commit()
      if (this.#wasReadOnly) await endWriting(change, this.#layers.base)
    })
  }
}

/** Runs `work` in `change` while `node`, when it was opened for reading, is writable. */
async function inWritable(change: Change, node: Node, work: () => Promise<void>): Promise<void> {
  if (!node.readOnly) return work()
  await setReadOnly(change, node, false)
  try {
    await work()
  } finally {
    await endWriting(change, node)
  }
}

/** Stands over the highest layer that is committed, for others to see where the job is. */
const commitFilter: DriverDescriptor = {
  name: 'commit_top',
  kind: 'filter',
  description: 'Stands over a layer while a job commits it.',
  options: { backing: { type: 'child', role: 'filtered', required: true, description: 'The layer' } },
  formatFilename: (_options, { backing }) => backing,
  open: async ({ children }) => new Passthrough(children.require('backing')),
}
