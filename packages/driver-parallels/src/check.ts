/** Checking and repairing, in QEMU's words where it has some. */
import { type CheckOptions, divUp, type ImageCheck } from '@diskgraph/core/driver'
import { type EntryTable, Place } from '@diskgraph/sparse'
import type { Clusters } from './clusters.ts'

/** What a check needs of an image. */
export interface CheckedImage {
  readonly table: EntryTable
  readonly clusters: Clusters
  /** Whether the header says that somebody has the image open, or had, and did not close it. */
  readonly inUse: boolean
  /** Whether that was there when the image was opened. */
  readonly foundInUse: boolean
  markClosed(): Promise<void>
  flush(): Promise<void>
}

interface Found {
  corruptions: number
  corruptionsFixed: number
  leaks: number
  leaksFixed: number
  allocated: number
  fragmented: number
}

/** Compares the table with itself, the header and the file. */
export async function checkImage(image: CheckedImage, options: CheckOptions): Promise<ImageCheck> {
  const { clusters } = image
  const found: Found = { corruptions: 0, corruptionsFixed: 0, leaks: 0, leaksFixed: 0, allocated: 0, fragmented: 0 }
  const all = options.repair === 'all'
  if (image.foundInUse) corruption(found, options, 'image was not closed correctly')
  const shared = findDamage(image, options, found)
  if (all) clusters.survey()
  for (const index of shared) await copyCluster(image, index)
  await image.flush()
  await findLeak(image, options, found)
  if (all && image.foundInUse) await image.markClosed()
  const { allocated, fragmented, ...counts } = found
  return {
    checkErrors: 0,
    ...counts,
    imageEndOffset: clusters.end,
    totalClusters: image.table.entries,
    allocatedClusters: allocated,
    fragmentedClusters: fragmented,
  }
}

function corruption(found: Found, options: CheckOptions, text: string): boolean {
  const repairs = options.repair === 'all'
  options.onFinding?.(repairs ? 'repair' : 'error', `${repairs ? 'Repairing' : 'ERROR'} ${text}`)
  if (repairs) found.corruptionsFixed++
  else found.corruptions++
  return repairs
}

/** Looks at every entry; returns those that get a copy of the cluster that another one has. */
function findDamage({ table, clusters }: CheckedImage, options: CheckOptions, found: Found): number[] {
  const owners = new Set<number>()
  const shared: number[] = []
  let last = 0
  for (let index = 0; index < table.entries; index++) {
    const entry = table.get(index)
    if (entry === 0) continue
    found.allocated++
    if (clusters.placeOf(entry) === Place.damaged) {
      if (corruption(found, options, `cluster ${index} is outside image`)) {
        table.set(index, 0)
        found.allocated--
      }
      continue
    }
    const host = clusters.hostOf(entry)
    if (owners.has(entry)) {
      if (corruption(found, options, `cluster ${index} is also used by another one`)) shared.push(index)
    }
    owners.add(entry)
    if (last !== 0 && host !== last + clusters.clusterSize) found.fragmented++
    last = host
  }
  return shared
}

/** Gives an entry a cluster of its own, with the content of the one that it shares. */
async function copyCluster({ clusters, table }: CheckedImage, index: number): Promise<void> {
  const { file, clusterSize } = clusters
  const taken = clusters.take(1)
  try {
    const from = clusters.hostOf(table.get(index))
    for (let at = 0; at < clusterSize; at += 2 ** 20) {
      const buf = new Uint8Array(Math.min(2 ** 20, clusterSize - at))
      await file.read(from + at, buf)
      await file.write(taken.host + at, buf)
    }
  } catch (error) {
    clusters.giveBack(taken)
    throw error
  }
  table.set(index, clusters.entryOf(taken.host))
}

/** Space behind the last cluster, which nothing points to, but for what the open image is to use again. */
async function findLeak({ clusters }: CheckedImage, options: CheckOptions, found: Found): Promise<void> {
  const { file, end, furthest, clusterSize } = clusters
  const leaked = file.size - end
  if (file.size <= furthest) return
  const fix = options.repair === 'leaks' || options.repair === 'all'
  options.onFinding?.(
    fix ? 'repair' : 'leak',
    `${fix ? 'Repairing' : 'ERROR'} space leaked at the end of the image ${leaked}`,
  )
  if (fix) await file.truncate(end)
  found[fix ? 'leaksFixed' : 'leaks'] += divUp(leaked, clusterSize)
}
