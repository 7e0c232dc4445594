/**
 * Changes of single L1 and L2 entries that a check makes. They are collected while references are counted and made
 * afterwards, when it is known that the table they stand in shares its cluster with nothing else.
 */
import { viewOf } from '../bytes.ts'
import { entrySize } from '../header/layout.ts'
import type { CheckState } from './state.ts'

/** One entry to change. */
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

/** Entries to change. */
export type Repairs = EntryRepair[]

/** More changes than this are left to another check. */
export const maxRepairs = 65536

/** Makes the postponed changes; those that are not safe to make are reported as errors. */
export async function repairEntries(check: CheckState): Promise<void> {
  const { image, report } = check
  const { l1 } = image.store
  for (const repair of check.repairs) {
    if (!ownsCluster(check, repair.offset, repair.inL2)) {
      report.corruption(`ERROR ${repair.text}`)
      continue
    }
    await writeEntry(check, repair)
    if (!repair.inL2 && repair.offset >= l1.offset && repair.offset < l1.offset + l1.data.byteLength) {
      l1.view.setUint32(repair.offset - l1.offset, repair.hi)
      l1.view.setUint32(repair.offset - l1.offset + 4, repair.lo)
    }
    report.fixed(`Repairing ${repair.text}`)
  }
  check.repairs.length = 0
}

/** Whether the cluster at `offset` is a table of the wanted kind and nothing else. */
export function ownsCluster(check: CheckState, offset: number, inL2: boolean): boolean {
  const cluster = Math.floor(offset / check.image.geometry.clusterSize)
  const uses = check.references.get(cluster)
  return uses > 0 && uses === (inL2 ? check.l2Uses.get(cluster) : 1)
}

async function writeEntry(check: CheckState, repair: EntryRepair): Promise<void> {
  const bytes = new Uint8Array(entrySize)
  const view = viewOf(bytes)
  view.setUint32(0, repair.hi)
  view.setUint32(4, repair.lo)
  await check.image.file.write(repair.offset, bytes)
}
