/**
 * What a guest did to a disk and when, and what it may therefore find after a crash.
 *
 * At a moment `t`, let F be the last flush (or close) that had ended. A sector must read as the last operation that
 * had ended before F started left it, or as any operation did that ended later and had started before `t`.
 */
import { foreignStamp, readStamp, sectorSize, zeroStamp } from './stamps.ts'

/** A change of sectors: `ids` are the stamps that they have after it. */
interface GuestChange {
  readonly first: number
  readonly ids: Int32Array
  readonly start: number
  readonly end: number
}

/** A change of the disk's size. */
interface GuestSize {
  readonly size: number
  readonly start: number
  readonly end: number
}

/** A flush or close that succeeded. */
interface GuestFlush {
  readonly start: number
  readonly end: number
}

/** How the content of a disk compares with what the guest may expect. */
interface ContentVerdict {
  /** Sectors that no unflushed operation touches, and that differ from what was flushed. */
  readonly lost: number
  /** Sectors that an unflushed operation touches, and that show neither the old nor a new value. */
  readonly stale: number
  /** The first few, in words. */
  readonly examples: readonly string[]
}

/** See the top of the file. Judge at rising moments. */
export class GuestLog {
  readonly changes: GuestChange[] = []
  readonly flushes: GuestFlush[] = []
  readonly sizes: GuestSize[]
  readonly #durable: Int32Array
  #since = 0
  #unsettled: GuestChange[] | undefined

  /** `initial`: the stamps of all sectors that there may ever be, before the log begins; `size`: of the disk then. */
  constructor(initial: Int32Array, size: number) {
    this.#durable = initial.slice()
    this.sizes = [{ size, start: -2, end: -1 }]
  }

  /** Sectors that the disk has at most. */
  get sectors(): number {
    return this.#durable.length
  }

  /** Compares `bytes`, the whole disk, with what a crash at `time` may leave. */
  judge(time: number, bytes: Uint8Array): ContentVerdict {
    const since = this.#advance(time)
    const open = (this.#unsettled ?? []).filter((change) => change.end >= since && change.start < time)
    let lost = 0
    let stale = 0
    const examples: string[] = []
    if (!this.#mayHaveSize(bytes.length, since, time)) {
      lost++
      examples.push(`the size is ${bytes.length}`)
    }
    for (let sector = 0; sector < this.#durable.length; sector++) {
      const at = sector * sectorSize
      const id = at + sectorSize <= bytes.length ? readStamp(bytes, at, sector) : zeroStamp
      const expected = this.#durable[sector] as number
      if (id === expected) continue
      const later = open.filter(({ first, ids }) => sector >= first && sector < first + ids.length)
      if (later.some(({ first, ids }) => ids[sector - first] === id)) continue
      if (later.length === 0) lost++
      else stale++
      if (examples.length < 3) {
        const found = id === foreignStamp ? 'neither zero nor a stamp of its place' : `operation ${id}`
        examples.push(`sector ${sector} shows ${found} instead of ${expected}${later.length > 0 ? ' or later' : ''}`)
      }
    }
    return { lost, stale, examples }
  }

  #mayHaveSize(size: number, since: number, time: number): boolean {
    const settled = this.sizes.filter(({ end }) => end < since).pop()
    const open = this.sizes.filter(({ start, end }) => end >= since && start < time)
    return settled?.size === size || open.some((change) => change.size === size)
  }

  /** Moves what the flushes before `time` made durable into the base. Returns the start of the last of them. */
  #advance(time: number): number {
    for (const flush of this.flushes) if (flush.end <= time) this.#since = Math.max(this.#since, flush.start)
    const unsettled = this.#unsettled ?? [...this.changes].sort((a, b) => a.start - b.start)
    this.#unsettled = unsettled.filter((change) => {
      if (change.end >= this.#since) return true
      this.#durable.set(change.ids, change.first)
      return false
    })
    return this.#since
  }
}
