/** What the steps of one check share. */
import type { CheckOptions } from '@diskgraph/core/driver'
import { ReferenceCounts } from '../refcounts/reference-counts.ts'
import type { Qcow2State } from '../state.ts'
import type { SnapshotRecord } from '../tables/snapshot-table.ts'
import { maxRepairs, type Repairs } from './repairs.ts'
import type { CheckReport } from './report.ts'

/** See the top of this file. */
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
  readonly repairs: Repairs = []
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
  postpone(repair: Repairs[number]): boolean {
    if (!this.repairAll || this.repairs.length >= maxRepairs) return false
    this.repairs.push(repair)
    return true
  }
}
