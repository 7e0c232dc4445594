/** `blklogwrites`: every change of an image is written down in a log, in its order, so that it can be replayed. */
import {
  BlockError,
  type Child,
  type ChildHandle,
  defineDriver,
  Flag,
  type Limits,
  type OpenContext,
  Passthrough,
} from '@diskgraph/core/driver'
import { defaultSectorSize, EntryFlag, WriteLog } from './log.ts'

/** Options of a `blklogwrites` node. */
export interface BlklogwritesOptions {
  /** The image whose changes are written down. */
  file: Child
  /** Where the log goes. What it holds is lost, except with `logAppend`. */
  log: Child
  /** Sectors of the log, in bytes; requests are multiples of it. A power of two from 512 to 8 MiB. Default 512. */
  logSectorSize?: number
  /** Goes on behind the entries of the log that is there, in its sectors. Default false. */
  logAppend?: boolean
  /** After so many entries the superblock is brought up to date without a flush. Default 4096. */
  logSuperUpdateInterval?: number
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    blklogwrites: { open: BlklogwritesOptions }
  }
}

class BlklogwritesImage extends Passthrough {
  readonly #log: WriteLog
  readonly #interval: number
  /** Entries that the log had at the start. */
  readonly #known: number
  readonly flushesChildren = true
  constructor(file: ChildHandle, log: WriteLog, interval: number) {
    super(file)
    this.#log = log
    this.#interval = interval
    this.#known = log.count
  }

  override get limits(): Partial<Limits> {
    const { limits } = this.file
    const alignment = Math.max(limits.alignment, this.#log.sectorSize)
    return { ...limits, alignment, discardAlignment: Math.max(limits.discardAlignment, alignment) }
  }

  override async write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    const entry = this.#add(entryFlags(flags), offset, buf.length, buf)
    await settled(this.file.write(offset, buf, flags, signal), entry)
  }

  override async writeZeroes(offset: number, length: number, flags: number, signal?: AbortSignal): Promise<void> {
    // The log stores them all.
    if ((flags & Flag.NoFallback) !== 0)
      throw new BlockError('ENOTSUP', 'a log of writes has no quick way to write zeroes')
    const entry = this.#add(entryFlags(flags), offset, length)
    await settled(this.file.writeZeroes(offset, length, flags, signal), entry)
  }

  override async discard(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    const entry = this.#add(EntryFlag.Discard, offset, length)
    await settled(this.file.discard(offset, length, signal), entry)
  }

  async flush(signal?: AbortSignal): Promise<void> {
    await this.file.flush(signal)
    await this.#log.add(EntryFlag.Flush, 0, 0)
    await this.#log.writeSuperblock()
  }

  async close(): Promise<void> {
    if (this.#log.count > this.#known) await this.#log.writeSuperblock()
  }

  async #add(flags: number, offset: number, length: number, data?: Uint8Array): Promise<void> {
    await this.#log.add(flags, offset, length, data)
    if (this.#log.count % this.#interval === 0) await this.#log.writeSuperblock()
  }
}

function entryFlags(flags: number): number {
  return (flags & Flag.Fua) === 0 ? 0 : EntryFlag.Fua
}

/** Waits for both, and throws the first error. */
async function settled(...work: Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(work)) if (result.status === 'rejected') throw result.reason
}

async function openLog({ children, options }: OpenContext<BlklogwritesOptions>): Promise<WriteLog> {
  const { logSectorSize, logAppend = false } = options
  const log = children.require('log')
  if (logAppend && logSectorSize !== undefined) {
    throw new BlockError('EINVAL', 'log-append and log-sector-size are mutually exclusive')
  }
  return logAppend ? WriteLog.append(log) : WriteLog.begin(log, logSectorSize ?? defaultSectorSize)
}

/** The driver `blklogwrites`. */
export const blklogwrites = defineDriver<BlklogwritesOptions>()({
  name: 'blklogwrites',
  kind: 'filter',
  description: 'Writes every change of an image down in a log, for replay.',
  options: {
    file: { type: 'child', role: 'filtered', required: true, description: 'The image whose changes are written down' },
    log: { type: 'child', role: 'metadata', required: true, description: 'Where the log goes' },
    logSectorSize: {
      type: 'integer',
      size: true,
      minimum: 0,
      description: 'Sectors of the log, a power of two from 512 to 8 MiB (default 512); requests are multiples of it',
    },
    logAppend: { type: 'boolean', default: false, description: 'Go on behind the entries that the log has' },
    logSuperUpdateInterval: {
      type: 'integer',
      minimum: 0,
      default: 4096,
      description: 'After so many entries the superblock is brought up to date without a flush',
    },
  },
  async open(context) {
    const { logSuperUpdateInterval = 4096 } = context.options
    if (logSuperUpdateInterval === 0) {
      throw new BlockError('EINVAL', 'Invalid log superblock update interval 0')
    }
    return new BlklogwritesImage(context.children.require('file'), await openLog(context), logSuperUpdateInterval)
  },
})
