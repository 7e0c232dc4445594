/** What the steps of one check share, and what they report. */
import type { CheckOptions, ImageCheck, Repair } from '@diskgraph/core/driver'
import { ReferenceCounts } from '../refcounts/reference-counts.ts'
import type { Qcow2State } from '../state.ts'
import type { StoredBitmap } from '../tables/bitmap-directory.ts'
import type { SnapshotRecord } from '../tables/snapshot-table.ts'

/** One entry of an L1 or L2 table to change. */
export interface EntryRepair {
  /** Where the entry stands in the file. */
  readonly offset: number
  /** Its new halves. */
  readonly hi: number
  readonly lo: number
  /** The finding, behind "Repairing " or "ERROR ". */
  readonly text: string
  /** Whether the entry stands in an L2 table; else in an L1 table. */
  readonly inL2: boolean
}

/** More changes than this are left to another check. */
const maxRepairs = 65536

/** The image, what was found out about it, and what is still to be done. */
export class CheckState {
  readonly image: Qcow2State
  readonly report: CheckReport
  readonly options: CheckOptions
  /** Bytes of the image file when the check began. */
  readonly fileSize: number
  /** Clusters of the file; the last one may be there in part. */
  readonly fileClusters: number
  /** References found, of all kinds. */
  readonly references: ReferenceCounts
  /** How often clusters are used as L2 tables: only a cluster that is nothing else may be written as one. */
  readonly l2Uses = new ReferenceCounts(Number.MAX_SAFE_INTEGER)
  /** Changes of single entries that wait for the end of the count. */
  readonly repairs: EntryRepair[] = []
  /** The refcount table or its blocks contradict themselves: they have to be made anew. */
  rebuild = false
  /** The clusters that the refcount table and its blocks take, one for every reference counted. */
  readonly oldStructure: number[] = []
  /** Counts on disk that differ from the references, as far as they have been kept; NaN: cannot be read. */
  readonly differences = new Map<number, number>()
  /** Clusters whose count could not be read. */
  unreadable = 0
  /** There are more differences than were kept. */
  differencesLost = false
  /** No entry of the active mapping can have a wrong copied flag, provided that all counts are right. */
  flagsPlain = true
  snapshots: readonly SnapshotRecord[] = []
  /** Bitmaps whose tables cannot be right. */
  damagedBitmaps: StoredBitmap[] = []
  /** Bytes of the snapshot table on disk. */
  snapshotsLength = 0
  /** The snapshot table is to be written again. */
  snapshotsChanged = false

  constructor(image: Qcow2State, report: CheckReport, options: CheckOptions) {
    const { file, geometry } = image
    this.image = image
    this.report = report
    this.options = options
    this.fileSize = file.size
    this.fileClusters = Math.ceil(file.size / geometry.clusterSize)
    this.references = new ReferenceCounts(geometry.maxRefcount)
  }

  /** Whether everything that can be repaired shall be. */
  get repairAll(): boolean {
    return this.options.repair === 'all'
  }

  /** Keeps a change of an entry for later; false when there are too many, or nothing is to be repaired. */
  postpone(repair: EntryRepair): boolean {
    if (!this.repairAll || this.repairs.length >= maxRepairs) return false
    this.repairs.push(repair)
    return true
  }
}

/** The findings and figures of one check. The lines are those that readers of QEMU's checks look for. */
export class CheckReport {
  readonly repair: Repair
  checkErrors = 0
  corruptions = 0
  leaks = 0
  corruptionsFixed = 0
  leaksFixed = 0
  allocatedClusters = 0
  fragmentedClusters = 0
  compressedClusters = 0
  /** The highest cluster in use. */
  highestCluster = 0
  private readonly onFinding: CheckOptions['onFinding']

  constructor(options: CheckOptions) {
    this.repair = options.repair ?? 'none'
    this.onFinding = options.onFinding
  }

  /** Forgets what is wrong and how much there is, but not what was mended: all is counted again. */
  startAgain(): void {
    this.checkErrors = 0
    this.corruptions = 0
    this.leaks = 0
    this.allocatedClusters = 0
    this.fragmentedClusters = 0
    this.compressedClusters = 0
    this.highestCluster = 0
  }

  /** Something is wrong and stays wrong. */
  corruption(text: string): void {
    this.corruptions++
    this.onFinding?.('error', text)
  }

  /** A cluster is counted more often than it is used. */
  leak(text: string): void {
    this.leaks++
    this.onFinding?.('leak', text)
  }

  /** The check itself could not do something. */
  failure(text: string): void {
    this.checkErrors++
    this.onFinding?.('error', text)
  }

  /** Something wrong has been put right. */
  fixed(text: string): void {
    this.corruptionsFixed++
    this.onFinding?.('repair', text)
  }

  /** A leak has been mended. */
  leakFixed(text: string): void {
    this.leaksFixed++
    this.onFinding?.('repair', text)
  }

  /** Tells of a repair that is no finding of its own. */
  repairNote(text: string): void {
    this.onFinding?.('repair', text)
  }

  /** Tells what is being done, or how to go on. */
  note(text: string): void {
    this.onFinding?.('info', text)
  }

  /** The figures, for an image of `clusterSize` whose disk has `totalClusters`. */
  result(clusterSize: number, totalClusters: number): ImageCheck {
    const { checkErrors, corruptions, leaks, corruptionsFixed, leaksFixed } = this
    const { allocatedClusters, fragmentedClusters, compressedClusters } = this
    return {
      checkErrors,
      corruptions,
      leaks,
      corruptionsFixed,
      leaksFixed,
      imageEndOffset: (this.highestCluster + 1) * clusterSize,
      totalClusters,
      allocatedClusters,
      fragmentedClusters,
      compressedClusters,
    }
  }
}

/** A 64-bit field in hexadecimal, from its halves. */
export function hexField(hi: number, lo: number): string {
  const low = (lo >>> 0).toString(16)
  return hi === 0 ? low : (hi >>> 0).toString(16) + low.padStart(8, '0')
}
