/**
 * Whether only the metadata of an image was preallocated, so that many of its clusters are holes in the file: then
 * the file is asked about zeroes, which would cost too much otherwise. Found out once, from the refcounts.
 */
import { errorCodeOf } from '@diskgraph/core'
import type { Qcow2State } from './state.ts'

/** Whether clearly more clusters are allocated than the file has blocks for. */
export function isPreallocated(state: Qcow2State): Promise<boolean> {
  state.preallocated ??= detect(state).catch((error) => {
    if (errorCodeOf(error) !== 'ENOTSUP') state.preallocated = undefined
    return false
  })
  return state.preallocated
}

async function detect(state: Qcow2State): Promise<boolean> {
  const { file, geometry, refcounts } = state
  const { allocatedSize } = await file.info()
  if (allocatedSize === undefined) return false
  const blocks = Math.ceil(allocatedSize / geometry.clusterSize)
  const threshold = Math.max(Math.floor((blocks * 10) / 9), blocks + 2)
  const clusters = Math.ceil(file.size / geometry.clusterSize)
  let allocated = 0
  for (let cluster = 0; cluster < clusters; cluster++) {
    if (allocated + clusters - cluster < threshold) return false
    const known = refcounts.peek(cluster)
    if ((known < 0 ? await refcounts.get(cluster) : known) === 0) continue
    allocated++
    if (allocated >= threshold) return true
  }
  return false
}
