/** `mirror`: copies a disk while it is in use, keeps the copy up to date, and lets the users of the disk go over to it. */
import { BlockError, type Change, type Disk, type GraphEdge, type Node } from '@diskgraph/core'
import type { ChildHandle } from '@diskgraph/core/driver'
import { endWriting, unfiltered } from '../disk/chain.ts'
import { JobError } from '../engine/work.ts'
import type { Job, JobWork } from '../job/job.ts'
import type { JobTable } from '../job/job-table.ts'
import type { ErrorPolicy, JobSettings } from '../job/settings.ts'
import { checkStart } from './arguments.ts'
import { openRecordedBacking } from './backing.ts'
import { type CopyFilter, copyFilterDriver } from './copy-filter.ts'
import { type CopyMode, MirrorImage } from './mirror-image.ts'
import { findNode, highestOver, type Insertion, insertFilter, refuseBusy, wholeChainOf } from './nodes.ts'
import { copyDirty, markPresent, retryAfter } from './passes.ts'
import { startJob } from './start.ts'

/** What {@link startMirror} takes; QMP's `blockdev-mirror`. */
export interface MirrorOptions extends JobSettings {
  /** The disk. */
  readonly device: Node | string
  /** A node of the same size that nobody uses. */
  readonly target: Node | string
  /** `full`: all of it. `top`: what the disk does not have of its backing file. `none`: what is written from now on. */
  readonly sync: 'full' | 'top' | 'none'
  /** The node whose users go over to the target. Default: the disk. */
  readonly replaces?: Node | string | undefined
  /** Bytes that are copied together, a power of two. Default: the cluster size of the target, 4 KiB to 64 KiB. */
  readonly granularity?: number | undefined
  /** Bytes that may be left to be copied while nobody writes, at the end (default 16 MiB), and that are copied at once. */
  readonly bufSize?: number | undefined
  /** Default `report`. */
  readonly onSourceError?: ErrorPolicy | undefined
  /** Default `report`. */
  readonly onTargetError?: ErrorPolicy | undefined
  /** Zeroes may be made by deallocating. Default true. */
  readonly unmap?: boolean | undefined
  /** The name of the filter over the disk. */
  readonly filterNodeName?: string | undefined
  /** Default `background`. */
  readonly copyMode?: CopyMode | undefined
  /**
   * What the target gets as its backing file when users go over to it: `source`, what the disk has (or the disk, where
   * `sync` is `none`); `recorded`, what the image names. Default: it keeps what it has.
   */
  readonly targetBacking?: 'source' | 'recorded' | undefined
}

const optionNames = [
  'device',
  'target',
  'sync',
  'replaces',
  'granularity',
  'bufSize',
  'onSourceError',
  'onTargetError',
  'unmap',
  'targetBacking',
  'filterNodeName',
  'copyMode',
]

/** Starts a mirror. When it is ready, `complete()` lets the users of the disk go over to the target. */
export async function startMirror(jobs: JobTable, options: MirrorOptions): Promise<Job> {
  checkStart('startMirror', jobs, options, optionNames)
  const { graph } = jobs
  return startJob(jobs, 'mirror', options, async (change, make) => {
    const source = findNode(graph, options.device)
    refuseBusy(source)
    const target = findNode(graph, options.target)
    checkSizes(options)
    if (source === target) throw new BlockError('EINVAL', "Can't mirror node into itself")
    refuseBusy(target)
    const replaces = options.replaces === undefined ? undefined : findReplaced(jobs, options.replaces, source)
    const work = new Mirror(jobs, source, target, { ...options, replaces })
    await work.enter(make(), change)
    return work
  })
}

function checkSizes({ granularity, bufSize, sync }: MirrorOptions): void {
  const { isSafeInteger } = Number
  if (granularity !== undefined && granularity !== 0) {
    if (!isSafeInteger(granularity) || granularity < 512 || granularity > 2 ** 26) {
      throw new BlockError('EINVAL', "Parameter 'granularity' expects a value in range [512B, 64MB]")
    }
    if (!Number.isInteger(Math.log2(granularity))) {
      throw new BlockError('EINVAL', "Parameter 'granularity' expects a power of 2")
    }
  }
  if (bufSize !== undefined && (!isSafeInteger(bufSize) || bufSize < 0)) {
    throw new BlockError('EINVAL', "Invalid parameter 'buf-size'")
  }
  if (!['full', 'top', 'none'].includes(sync)) {
    throw new BlockError('EINVAL', `Sync mode '${String(sync)}' not supported`)
  }
}

/** The node called `name`, which shows what `source` does, so that nobody sees a change when they go over. */
function findReplaced(jobs: JobTable, name: Node | string, source: Node): Node {
  if (typeof name === 'string' && jobs.graph.find(name) === undefined) {
    throw new BlockError('ENOENT', `Failed to find node with node-name='${name}'`)
  }
  const node = findNode(jobs.graph, name)
  if (shows(source, node)) return node
  throw new BlockError(
    'EINVAL',
    `Cannot replace '${node.name}' by a node mirrored from '${source.name}', because it cannot be guaranteed that doing ` +
      'so would not lead to an abrupt change of visible data',
  )
}

/** Whether all who see `node` see what `top` does. One of several replicas may differ: then nobody else is to see it. */
function shows(top: Node, node: Node): boolean {
  if (top === node) return true
  for (const { role, node: below } of top.children.values()) {
    if (role === 'filtered' && shows(below, node)) return true
    if (role === 'replica' && shows(below, node) && [...below.parents].every(isOf(top))) return true
  }
  return false
}

/** Whether an edge belongs to `parent`, or to somebody who does nothing. */
function isOf(parent: Node): (edge: GraphEdge) => boolean {
  return (edge) => edge.parent === parent || edge.permissions === 0
}

/** What is left to be copied while nobody writes, at most. */
const defaultBufSize = 2 ** 24

interface Settings extends Omit<MirrorOptions, 'replaces'> {
  readonly replaces: Node | undefined
  /** The layer of the disk that is the target. */
  readonly base?: Node | undefined
}

/** See {@link startMirror}. A commit of the active layer is one, too: its target is a layer below. */
export class Mirror implements JobWork {
  readonly #jobs: JobTable
  readonly #source: Node
  readonly #target: Node
  readonly #options: Settings
  readonly #base: Node | undefined
  /** The target is a layer that was opened for reading. */
  #wasReadOnly = false
  #insertion: Insertion | undefined
  #image: MirrorImage | undefined
  #ending: 'complete' | 'cancel' | undefined
  /** Takes the bitmap of what is to be copied from those that others see. */
  #hide: () => void = ignore

  constructor(jobs: JobTable, source: Node, target: Node, options: Settings) {
    this.#jobs = jobs
    this.#source = source
    this.#target = target
    this.#options = options
    const below = options.sync === 'top' ? unfiltered(source).backing?.node : undefined
    this.#base = options.base === undefined ? below : highestOver(options.base, source)
  }

  /** Stages the filter over the disk. */
  async enter(job: Job, change: Change, wasReadOnly = false): Promise<void> {
    this.#wasReadOnly = wasReadOnly
    const { graph } = this.#jobs
    const { granularity, unmap, copyMode = 'background', filterNodeName, bufSize } = this.#options
    const { clusterSize = 65536 } = await this.#target.info()
    const unchanged = this.#options.base !== undefined
    // A cluster of which a part is written would get zeroes for the rest where nothing is below to fill it up.
    const mayLack = this.#options.sync !== 'full' && unfiltered(this.#target).backing === undefined
    const settings = {
      granularity: granularity || Math.min(65536, Math.max(4096, clusterSize)),
      unit: mayLack ? clusterSize : 1,
      unmap,
      unchanged,
      longest: bufSize,
      signal: job.signal,
    }
    const make = (file: ChildHandle, target: ChildHandle): CopyFilter => {
      this.#image = new MirrorImage(file, target, settings, copyMode, (error) => this.#failedAlong(job, error))
      return this.#image
    }
    const kind = { name: 'mirror_top', disk: 'backing', target: unchanged ? 'layer' : 'own' } as const
    const driver = copyFilterDriver(kind, make)
    const { base } = this.#options
    const chain = wholeChainOf(this.#source)
    const layers = base === undefined ? [] : chain.slice(1, chain.indexOf(base))
    const nodes = { source: this.#source, target: this.#target, layers }
    const filter = { driver, nodeName: filterNodeName, hidden: filterNodeName === undefined }
    this.#insertion = await insertFilter(change, graph, nodes, filter, job)
    const { dirty } = (this.#image as unknown as MirrorImage).units
    this.#source.showDirtyBitmap(dirty)
    this.#hide = once(() => this.#source.removeDirtyBitmap(dirty))
    change.onUndo(this.#hide)
  }

  async run(job: Job): Promise<void> {
    const { root } = this.#insertion as Insertion
    const image = this.#image as MirrorImage
    if (this.#options.base === undefined && this.#target.size !== this.#source.size) {
      throw new BlockError('EINVAL', 'Source and target image have different sizes')
    }
    image.onDirty = () => job.pace.wake()
    image.units.onCopied = (length) => job.advance(length)
    await this.#fill(job, image)
    const { bufSize } = this.#options
    const pass = {
      job,
      units: image.units,
      counted: (copy: () => Promise<void>) => root.whileCounted(copy),
      workers: 8,
      enough: bufSize || defaultBufSize,
      policy: (side: 'source' | 'target') => this.#policy(side),
    }
    for (;;) {
      await copyDirty(pass)
      const turns = !job.ready || this.#ending !== undefined
      if (turns && !(await this.#flush(job, root, image))) continue
      if (!job.ready) job.becomeReady()
      if (this.#ending !== undefined) return
      while (image.units.dirty.dirtyBytes === 0 && this.#ending === undefined && !job.paused) await job.pace.sleep()
      await job.rest()
    }
  }

  /** What is ready, or about to end, is on stable storage. False: it is not, and is to be tried again. */
  async #flush(job: Job, root: Disk, image: MirrorImage): Promise<boolean> {
    try {
      await root.whileCounted(() => image.target.flush())
      return true
    } catch (cause) {
      const error = new JobError({ operation: 'write', disk: 'target', offset: 0 }, cause)
      if (job.signal.aborted || !job.judge(error, 'write', this.#policy('target'))) throw error
      if (!job.paused) await job.pace.sleepFor(retryAfter)
      await job.rest()
      return false
    }
  }

  /** Marks what is to be copied at first. */
  async #fill(job: Job, image: MirrorImage): Promise<void> {
    const { sync } = this.#options
    if (sync === 'none') return
    if (sync === 'full' || this.#base === undefined) image.units.dirty.set(0, image.size)
    else await markPresent(job, (this.#insertion as Insertion).root, this.#base, image)
    job.setRemaining(image.units.dirty.dirtyBytes)
  }

  #policy(side: 'source' | 'target'): ErrorPolicy {
    const { onSourceError = 'report', onTargetError = 'report' } = this.#options
    return side === 'source' ? onSourceError : onTargetError
  }

  /** A write that goes along has not reached the target: it is dirty there, and the job decides. */
  #failedAlong(job: Job, error: unknown): void {
    if (!job.judge(error, 'write', this.#policy('target'))) job.fail(error as Error)
  }

  complete(): void {
    this.#ending = 'complete'
  }

  cancelSoftly(): boolean {
    this.#ending = 'cancel'
    return true
  }

  change(options: Readonly<Record<string, unknown>>): void {
    const { copyMode } = options
    if (copyMode !== 'background' && copyMode !== 'write-blocking') {
      throw new BlockError('EINVAL', `a mirror has no copy mode '${String(copyMode)}'`)
    }
    if (copyMode === 'background' && this.#image?.copyMode === 'write-blocking') {
      throw new BlockError('ENOTSUP', "Change to copy mode 'background' is not implemented")
    }
    if (this.#image !== undefined && copyMode === 'write-blocking') this.#image.writeAlong()
  }

  /** Copies the rest while nobody writes, and lets the users go over: both, or neither. */
  async prepare(job: Job): Promise<void> {
    const insertion = this.#insertion as Insertion
    const image = this.#image as MirrorImage
    await insertion.leave(
      async () => {
        await copyDirty({ job, units: image.units, counted: (copy) => insertion.root.whileCounted(copy), workers: 8 })
        await image.target.flush()
      },
      (change) => (this.#ending === 'complete' ? this.#goOver(change) : this.#goBack(change)),
    )
  }

  async end(): Promise<void> {
    await this.#insertion?.leave(undefined, (change) => this.#goBack(change))
  }

  async #goOver(change: Change): Promise<void> {
    const { filter } = this.#insertion as Insertion
    const { replaces = this.#source } = this.#options
    change.afterCommit(this.#hide)
    await this.#giveBacking(change)
    await change.remove(filter)
    if (!shows(this.#source, replaces)) throw this.#changed(replaces)
    await change.replace(replaces, this.#target)
  }

  /** The error of users of `replaces` that have come meanwhile, and would see other data. */
  #changed(replaces: Node): BlockError {
    const [of, by] = [replaces.name, this.#target.name]
    const message =
      `Can no longer replace '${of}' by '${by}', because it can no longer be guaranteed that doing so would not lead to ` +
      'an abrupt change of visible data'
    return new BlockError('EPERM', message, { node: of })
  }

  async #giveBacking(change: Change): Promise<void> {
    const { targetBacking, sync } = this.#options
    if (targetBacking === undefined) return
    const target = unfiltered(this.#target)
    const ofSource = sync === 'none' ? this.#source : this.#base
    const backing = targetBacking === 'source' ? ofSource : await openRecordedBacking(change, target)
    if (backing !== undefined && backing !== target.backing?.node) await change.setBacking(target, backing)
  }

  /** The users stay where they are. */
  async #goBack(change: Change): Promise<void> {
    change.afterCommit(this.#hide)
    await change.remove((this.#insertion as Insertion).filter)
    await change.commit()
    if (this.#wasReadOnly) await endWriting(change, this.#target)
  }
}

function once(step: () => unknown): () => void {
  let isDone = false
  return () => {
    if (!isDone) step()
    isDone = true
  }
}

function ignore(): void {}
