/** `backup`: copies a disk as it is when the job starts, while it is in use. What is about to change is copied first. */
import { BlockError, type Change, type DirtyBitmap, type Disk, type Node } from '@diskgraph/core'
import { DirtyBitmap as Bitmap, type ChildHandle, Flag } from '@diskgraph/core/driver'
import { findBitmap, refuseUnusable } from '../bitmaps/bitmaps.ts'
import { unfiltered } from '../disk/chain.ts'
import type { Job, JobWork } from '../job/job.ts'
import type { JobTable } from '../job/job-table.ts'
import type { ErrorPolicy, JobSettings } from '../job/settings.ts'
import { checkStart } from './arguments.ts'
import { CopyFilter, type CopyFilterSettings, copyFilterDriver } from './copy-filter.ts'
import { chainOf, findNode, type Insertion, insertFilter, refuseBusy } from './nodes.ts'
import { copyDirty, markPresent } from './passes.ts'
import { startJob } from './start.ts'

/** What a backup leaves in its bitmap: `never` changes it; `on-success` or `always` it holds what the target lacks. */
export type BitmapMode = 'on-success' | 'never' | 'always'

/** What {@link startBackup} takes; QMP's `blockdev-backup`. */
export interface BackupOptions extends JobSettings {
  /** The disk. */
  readonly device: Node | string
  /** A node of the same size that nobody writes to. */
  readonly target: Node | string
  /**
   * `full`: all of it. `top`: what the disk has itself, and not of its backing file. `none`: only what is about to change, until
   * it is cancelled. `bitmap`: what `bitmap` has marked; `incremental` is `bitmap` with the mode `on-success`.
   */
  readonly sync: 'full' | 'top' | 'none' | 'incremental' | 'bitmap'
  /** The name of a dirty bitmap of the disk. */
  readonly bitmap?: string | undefined
  readonly bitmapMode?: BitmapMode | undefined
  /** Data is stored compressed. */
  readonly compress?: boolean | undefined
  /** Default `report`. */
  readonly onSourceError?: ErrorPolicy | undefined
  /** Default `report`. */
  readonly onTargetError?: ErrorPolicy | undefined
  /** The name of the filter over the disk. */
  readonly filterNodeName?: string | undefined
  /** Copies at the same time; default 64, of which each takes 1 MiB of memory at most. */
  readonly maxWorkers?: number | undefined
  /** Bytes that are copied at once, at most; 0 (default): 1 MiB. No less than is copied together, 64 KiB or a cluster. */
  readonly maxChunk?: number | undefined
  /** Begins in this change of the graph, which is under way: backups that begin in one show the same moment. */
  readonly change?: Change | undefined
}

const optionNames = [
  'device',
  'target',
  'sync',
  'bitmap',
  'bitmapMode',
  'compress',
  'onSourceError',
  'onTargetError',
  'filterNodeName',
  'maxWorkers',
  'maxChunk',
]

/** Starts a backup. The target holds the disk as it was at the start when the job has ended well. */
export async function startBackup(jobs: JobTable, options: BackupOptions): Promise<Job> {
  checkStart('startBackup', jobs, options, optionNames)
  const { graph } = jobs
  return startJob(jobs, 'backup', options, async (change, make) => {
    const source = findNode(graph, options.device)
    const target = findNode(graph, options.target)
    const plan = checkSync(options, source)
    if (source === target) throw new BlockError('EINVAL', 'Source and target cannot be the same')
    refuseBusy(source)
    refuseBusy(target)
    if (source.size !== target.size) throw new BlockError('EINVAL', 'Source and target image have different sizes')
    if (options.compress && ((target.image.writeFlags ?? 0) & Flag.Compressed) === 0) {
      throw new BlockError('ENOTSUP', 'Compression is not supported for this drive ')
    }
    const work = new Backup(jobs, source, target, options, plan)
    await work.enter(make(), change)
    return work
  })
}

/** The bitmap that a backup uses, and how. */
interface Plan {
  readonly bitmap: DirtyBitmap | undefined
  readonly mode: BitmapMode
}

function checkSync(options: BackupOptions, source: Node): Plan {
  const { sync, bitmap: name, bitmapMode, maxWorkers, maxChunk = 0 } = options
  const invalid = (message: string): BlockError => new BlockError('EINVAL', message)
  if (!['full', 'top', 'none', 'incremental', 'bitmap'].includes(sync)) {
    throw invalid(`Sync mode '${String(sync)}' not supported`)
  }
  if (maxWorkers !== undefined && !(Number.isInteger(maxWorkers) && maxWorkers >= 1 && maxWorkers < 2 ** 31)) {
    throw invalid('max-workers must be between 1 and 2147483647')
  }
  if (!(Number.isSafeInteger(maxChunk) && maxChunk >= 0)) {
    throw invalid('max-chunk must be zero (which means no limit) or positive')
  }
  const byBitmap = sync === 'incremental' || sync === 'bitmap'
  if (name === undefined) {
    if (byBitmap) throw invalid(`must provide a valid bitmap name for '${sync}' sync mode`)
    if (bitmapMode !== undefined) throw invalid('Cannot specify bitmap sync mode without a bitmap')
    return { bitmap: undefined, mode: 'never' }
  }
  if (sync === 'incremental' && bitmapMode !== undefined && bitmapMode !== 'on-success') {
    throw invalid("Bitmap sync mode must be 'on-success' when using sync mode 'incremental'")
  }
  const bitmap = findBitmap(source, name, `Bitmap '${name}' could not be found`)
  const mode = sync === 'incremental' ? 'on-success' : bitmapMode
  if (mode === undefined) throw invalid('Bitmap sync mode must be given when providing a bitmap')
  if (sync === 'none') throw invalid("sync mode 'none' does not produce meaningful bitmap outputs")
  if (mode === 'never' && !byBitmap) {
    throw invalid(`Bitmap sync mode 'never' has no meaningful effect when combined with sync mode '${sync}'`)
  }
  refuseUnusable(bitmap)
  return { bitmap, mode }
}

const smallestUnit = 65536

class Backup implements JobWork {
  readonly #jobs: JobTable
  readonly #source: Node
  readonly #target: Node
  readonly #options: BackupOptions
  readonly #plan: Plan
  /** What others see while it runs: the bitmaps of the disk and of the filter, beside the one it was given. */
  readonly #shown: (() => void)[] = []
  #insertion: Insertion | undefined
  #image: BackupImage | undefined

  constructor(jobs: JobTable, source: Node, target: Node, options: BackupOptions, plan: Plan) {
    this.#jobs = jobs
    this.#source = source
    this.#target = target
    this.#options = options
    this.#plan = plan
  }

  /** Stages the filter over the disk. The moment that is kept is that of the commit. */
  async enter(job: Job, change: Change): Promise<void> {
    const { compress, filterNodeName } = this.#options
    const { graph } = this.#jobs
    const { bitmap } = this.#plan
    if (bitmap !== undefined) {
      bitmap.busy = true
      change.onUndo(() => {
        bitmap.busy = false
      })
    }
    const { clusterSize = smallestUnit } = await this.#target.info()
    const granularity = Math.max(smallestUnit, clusterSize)
    const { maxChunk = 0 } = this.#options
    if (maxChunk > 0 && maxChunk < granularity) {
      const message = `Required max-chunk (${maxChunk}) is less than backup cluster size (${granularity})`
      throw new BlockError('EINVAL', message)
    }
    const fleecing = chainOf(this.#target).includes(unfiltered(this.#source))
    const make = (file: ChildHandle, target: ChildHandle): CopyFilter => {
      this.#image = new BackupImage(file, target, { granularity, compressed: compress, fleecing, longest: maxChunk })
      return this.#image
    }
    const driver = copyFilterDriver({ name: 'copy-before-write', disk: 'file', target: 'shared' }, make)
    const nodes = { source: this.#source, target: this.#target }
    this.#insertion = await insertFilter(change, graph, nodes, { driver, nodeName: filterNodeName }, job)
    change.afterCommit(() => this.#begin(job))
  }

  /** Guests are held until the change has ended, and the job with them. */
  heldUntil(): Promise<unknown> {
    return this.#jobs.graph.change(async () => undefined)
  }

  /** Everything that can change is to be copied before, from here on. */
  #begin(job: Job): void {
    const image = this.#image as BackupImage
    const { bitmap } = this.#plan
    image.units.onCopied = (length) => job.advance(length)
    if (this.#options.sync === 'bitmap' || this.#options.sync === 'incremental') {
      image.units.dirty.merge(bitmap as DirtyBitmap)
    } else image.units.dirty.set(0, image.size)
    job.setRemaining(image.units.dirty.dirtyBytes)
    if (bitmap !== undefined) this.#show(this.#source, bitmap.split())
    this.#show(this.#source, image.units.dirty)
    for (const own of [image.saved, image.readable]) this.#show((this.#insertion as Insertion).filter, own)
  }

  #show(node: Node, bitmap: DirtyBitmap): void {
    node.showDirtyBitmap(bitmap)
    this.#shown.push(() => node.removeDirtyBitmap(bitmap))
  }

  async run(job: Job): Promise<void> {
    const image = this.#image as BackupImage
    const { sync, maxWorkers = 64 } = this.#options
    await job.rest()
    if (sync === 'none') {
      for (;;) {
        await job.pace.sleep()
        await job.rest()
      }
    }
    const { root } = this.#insertion as Insertion
    if (sync === 'top') await this.#leaveOut(job, root, image)
    await copyDirty({
      job,
      units: image.units,
      counted: (copy) => root.whileCounted(copy),
      workers: Math.min(maxWorkers, 64),
      policy: (side) => this.#policy(side),
    })
  }

  /** What the disk does not have itself need not be copied. */
  async #leaveOut(job: Job, root: Disk, image: BackupImage): Promise<void> {
    const present = new Bitmap(image.size, image.units.dirty.granularity)
    await markPresent(job, root, unfiltered(this.#source).backing?.node, present)
    for (let run = present.nextClean(0); run !== undefined; run = present.nextClean(run.offset + run.length)) {
      image.units.dirty.clear(run.offset, run.length)
    }
    job.setRemaining(image.units.dirty.dirtyBytes)
  }

  #policy(side: 'source' | 'target'): ErrorPolicy {
    const { onSourceError = 'report', onTargetError = 'report' } = this.#options
    return side === 'source' ? onSourceError : onTargetError
  }

  async prepare(): Promise<void> {
    await this.#image?.target.flush()
  }

  /** Whether what was copied is on stable storage, so that the bitmap may forget it. */
  async #targetHolds(): Promise<boolean> {
    try {
      await (this.#image as BackupImage).target.flush()
      return true
    } catch {
      return false
    }
  }

  async end(_job: Job, success: boolean): Promise<void> {
    const { bitmap, mode } = this.#plan
    try {
      // Copies that guests wait for end in here: only then is it known what the target lacks.
      await this.#insertion?.leave()
    } finally {
      for (const hide of this.#shown) hide()
      if (bitmap !== undefined) {
        // Marked is, on top of what was written since the start, what the target lacks.
        const holds = success || (mode === 'always' && (await this.#targetHolds()))
        bitmap.join(mode === 'never' || !holds)
        if (holds && !success) bitmap.merge((this.#image as BackupImage).units.dirty)
        bitmap.busy = false
      }
    }
  }
}

/** Copies what is about to change. A change whose copy fails does not happen. */
class BackupImage extends CopyFilter {
  /** Shown only: what was copied because it was about to change. */
  readonly saved: DirtyBitmap
  /** Shown only: what can be read of the moment that is kept, which is all of it. */
  readonly readable: DirtyBitmap

  constructor(file: ChildHandle, target: ChildHandle, settings: CopyFilterSettings) {
    super(file, target, settings)
    const [saved, readable] = [0, file.size].map((length) => {
      const bitmap = new Bitmap(file.size, settings.granularity)
      bitmap.enabled = false
      bitmap.set(0, length)
      return bitmap
    }) as [DirtyBitmap, DirtyBitmap]
    this.saved = saved
    this.readable = readable
  }

  override async write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    await this.#save(offset, buf.length)
    await super.write(offset, buf, flags, signal)
  }

  override async writeZeroes(offset: number, length: number, flags: number, signal?: AbortSignal): Promise<void> {
    await this.#save(offset, length)
    await super.writeZeroes(offset, length, flags, signal)
  }

  override async discard(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    await this.#save(offset, length)
    await super.discard(offset, length, signal)
  }

  async #save(offset: number, length: number): Promise<void> {
    await this.units.copy(offset, length)
    this.saved.set(offset, length)
  }
}
