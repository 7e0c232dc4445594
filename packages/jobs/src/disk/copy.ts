/** Copying the content of a disk. */
import { BlockError, type Disk, Flag, isBlockError, type Node } from '@diskgraph/core'
import type { DriverInfo } from '@diskgraph/core/driver'
import { checkSettings, due, kindOf, oneOf, TimeSlice, wholeNumber } from '@diskgraph/core/internal'
import { checkDisk, workRules } from '../engine/arguments.ts'
import { runCopy } from '../engine/copier.ts'
import { Source, type UnreadableListener } from '../engine/source.ts'
import type { Writer } from '../engine/transfer.ts'
import { JobError, type JobOptions, runJob } from '../engine/work.ts'
import { zeroUnitOf } from '../engine/zero-runs.ts'
import { refuseSameStorage, unfiltered } from './chain.ts'

/** Where a copy goes: a {@link Disk}, or anything else that takes writes (a stream, if they are ordered). */
export interface CopyTarget extends Writer {
  /** In bytes; left out where there is no end. */
  readonly size?: number
  /** What is written stands on stable storage when it resolves. */
  flush?(signal?: AbortSignal): Promise<void>
  info?(): Promise<DriverInfo>
}

/** How {@link copy} copies. */
export interface CopyOptions extends JobOptions {
  /** Bytes at the start of the source that are left out. Default 0. */
  readonly skip?: number | undefined
  /** Bytes at most that are copied. Default: all to the end of the source. */
  readonly length?: number | undefined
  /**
   * `full` (default): the target reads as the source does. `top`: what the source has of its backing file is left out,
   * for a target that has that backing file, too.
   */
  readonly sync?: 'full' | 'top' | undefined
  /** The shortest run of zeroes, in bytes, that is not stored; 0: everything is stored. Default 4096. */
  readonly sparseSize?: number | undefined
  /**
   * Whether the target reads as zeroes already. Default: it is zeroed first where that is quick and it has no backing
   * file.
   */
  readonly targetIsZero?: boolean | undefined
  /** Data is stored compressed. ENOTSUP where the target cannot. */
  readonly compressed?: boolean | undefined
  /** Chunks of 2 MiB that are on their way, and in memory, at the same time. Default 8. */
  readonly parallel?: number | undefined
  /** Writes start in the order of the disk, so that a new image is laid out in order. Default true. */
  readonly ordered?: boolean | undefined
  /** The storage copies by itself where it can; zeroes within its data are kept then. Default false. */
  readonly offload?: boolean | undefined
  /** Called for each part that cannot be read and becomes zeroes; without it such an error ends the copy. */
  readonly onUnreadable?: UnreadableListener | undefined
}

/**
 * Copies a disk, or several behind each other, to the start of `target`, and flushes it. Holes and zeroes take no
 * space. What lies behind the source in a larger target stays as it is; a smaller one is ENOSPC. A copy that fails or
 * is aborted leaves a target of which nobody knows how much is written.
 */
export function copy(source: Disk | readonly Disk[], target: CopyTarget, options: CopyOptions = {}): Promise<void> {
  return runJob(options, () => copyAll(Array.isArray(source) ? source : [source], target, options))
}

const rules = {
  ...workRules,
  skip: due.bytes,
  length: due.bytes,
  sync: oneOf('full', 'top'),
  sparseSize: due.bytes,
  targetIsZero: due.flag,
  compressed: due.flag,
  parallel: wholeNumber(1, 1024),
  ordered: due.flag,
  offload: due.flag,
  onUnreadable: due.callback,
}

function check(disks: readonly Disk[], target: CopyTarget, options: CopyOptions): void {
  checkSettings('copy', rules, options)
  if (disks.length === 0) throw new BlockError('EINVAL', 'there is no source to copy')
  for (const disk of disks) checkDisk('the source of copy', disk)
  if (typeof target?.write !== 'function' || typeof target.writeZeroes !== 'function') {
    throw new BlockError('EINVAL', `the target of copy has write() and writeZeroes(), which ${kindOf(target)} has not`)
  }
  if (isDisk(target)) checkDisk('the target of copy', target)
}

async function copyAll(disks: readonly Disk[], target: CopyTarget, options: CopyOptions): Promise<void> {
  check(disks, target, options)
  const [first] = disks as [Disk]
  const { sparseSize = 4096, parallel = 8, compressed = false, signal } = options
  const { skip, length, sync = 'full', targetIsZero, ordered = true, offload, ...job } = options
  const source = new Source(disks, { skip, length, signal, baseOf: sync === 'top' ? backingOf : undefined })
  const disk = isDisk(target) ? target : undefined
  for (const one of disk === undefined ? [] : disks) refuseSameStorage('copy', one, disk as Disk)
  if (target.size !== undefined && target.size < source.length) {
    const message = `cannot copy ${source.length} bytes to a target of ${target.size} bytes`
    throw new BlockError('ENOSPC', message, { hint: 'resize the target, or copy less of the source' })
  }
  const { clusterSize = 1, needsCompressedWrites = false } = (await target.info?.()) ?? {}
  const compress = compressed || needsCompressedWrites
  await runCopy({
    ...job,
    source,
    target,
    clock: first.graph.clock,
    clusterSize,
    zeroUnit: zeroUnitOf(sparseSize, clusterSize, compress),
    targetIsZero: targetIsZero ?? (sync === 'full' && sparseSize > 0 && (await zero(disk, source.length, signal))),
    writeFlags: compress ? compressedFlag(clusterSize) : 0,
    workers: parallel,
    ordered,
    offload: offload ? disk : undefined,
  })
  await target.flush?.(signal)
}

function isDisk(target: CopyTarget): target is Disk {
  return 'edge' in target
}

function backingOf(disk: Disk): Node | undefined {
  return unfiltered(disk.node).backing?.node
}

function compressedFlag(clusterSize: number): number {
  if (clusterSize > 1) return Flag.Compressed
  throw new BlockError('ENOTSUP', 'Compression not supported for this file format')
}

/** Zeroed at once, so that an abort is noticed in time. */
const longestZeroes = 2 ** 30

/** Makes the first `size` bytes of `disk` read as zeroes where that is quick, and says whether it was. */
async function zero(disk: Disk | undefined, size: number, signal: AbortSignal | undefined): Promise<boolean> {
  if (disk === undefined || backingOf(disk) !== undefined) return false
  const slice = new TimeSlice(disk.graph.clock, signal)
  for (let offset = 0; offset < size; offset += longestZeroes) {
    await slice.end()
    try {
      const length = Math.min(longestZeroes, size - offset)
      await disk.writeZeroes(offset, length, Flag.MayUnmap | Flag.NoFallback, signal)
    } catch (error) {
      if (isBlockError(error) && error.code === 'ENOTSUP') return false
      throw new JobError({ operation: 'write', disk: 'target', offset }, error)
    }
  }
  return true
}
