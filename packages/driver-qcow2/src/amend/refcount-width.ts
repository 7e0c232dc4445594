/**
 * Changing how wide refcounts are: a whole new refcount structure is written, with the counts of the old one, and put
 * in charge together with the new width by one write of the header. Clusters of the old structure are free in the
 * new one; a crash leaves either of them in charge, and what the other takes leaked.
 */

import { Yielder } from '@diskgraph/clusters'
import { BlockError, throwIfAborted } from '@diskgraph/core/driver'
import { type Geometry, geometryOf, maxRefcountOrder } from '../header/layout.ts'
import { Claims } from '../refcounts/claims.ts'
import { type RefcountBlock, setRefcountAt } from '../refcounts/entries.ts'
import { planStructure, type StructurePlan, structureClusters, writeStructure } from '../refcounts/structure.ts'
import type { Qcow2State } from '../state.ts'

/** Whose progress is told, and what may end it. */
export interface Progress {
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: ((done: number, total: number) => void) | undefined
}

/** The order of a width in bits. EINVAL when there is none. */
export function orderOf(bits: number): number {
  const order = Math.log2(bits)
  if (!Number.isInteger(order) || order < 0 || order > maxRefcountOrder) {
    throw new BlockError('EINVAL', 'Refcount width must be a power of two and may not exceed 64 bits')
  }
  return order
}

/** Makes refcounts 2^`order` bits wide. Under the mutex, after `makeClean`. EINVAL when a count does not fit. */
export async function changeRefcountWidth(state: Qcow2State, order: number, progress: Progress): Promise<void> {
  const geometry = geometryOf(state.geometry.clusterBits, order, state.header.value.incompatibleFeatures)
  const claims = new Claims(state)
  try {
    const { plan, claimedEnd } = await claimStructure(state, geometry, claims, progress.signal)
    await state.store.writeRefcounts()
    const counts = new CarriedCounts(state, plan, claimedEnd)
    const { blocks } = plan
    let done = 0
    const yielder = new Yielder(progress.signal)
    const fill = async (index: number, block: RefcountBlock): Promise<void> => {
      throwIfAborted(progress.signal)
      const turn = yielder.step(geometry.refcountBlockEntries)
      if (turn !== undefined) await turn
      progress.onProgress?.(done++, blocks.length)
      return counts.fill(index, block)
    }
    const table = await writeStructure(state.file, plan, fill, progress.signal)
    await state.store.switchTables({
      refcountTableOffset: table.offset,
      refcountTableClusters: plan.tableClusters,
      refcountOrder: order,
    })
    // All parts of the state share this object.
    Object.assign(state.geometry, geometry)
    state.store.blocks.invalidate()
    state.store.replaceRefcountTable(table)
    state.allocator.reset()
  } catch (error) {
    await claims.giveBack()
    throw error
  }
}

/** Where the structure goes. */
interface Claimed {
  readonly plan: StructurePlan
  /** The cluster behind those that were taken, which may be more than the plan needs. */
  readonly claimedEnd: number
}

/** Takes the clusters of a structure that describes all clusters in use, those among them. */
async function claimStructure(
  state: Qcow2State,
  geometry: Geometry,
  claims: Claims,
  signal?: AbortSignal,
): Promise<Claimed> {
  const { clusterSize } = state.geometry
  const used = await usedBlocks(state, geometry, signal)
  let wanted = structureClusters(planStructure(geometry, 0, used)) + 2
  for (;;) {
    const first = (await claims.allocate(wanted)) / clusterSize
    const plan = planStructure(geometry, first, used)
    if (structureClusters(plan) <= wanted) return { plan, claimedEnd: first + wanted }
    await claims.giveBack()
    wanted = structureClusters(plan) + 2
  }
}

/** The blocks of the new width that have anything to count. */
async function usedBlocks(state: Qcow2State, geometry: Geometry, signal?: AbortSignal): Promise<number[]> {
  const { refcounts } = state
  const { refcountBlockEntries: entries } = state.geometry
  const blocks = new Set<number>()
  const yielder = new Yielder(signal)
  for (let index = 0; index < refcounts.tableEntries; index++) {
    const turn = yielder.step(refcounts.blockOffset(index) === 0 ? 1 : entries / 4)
    if (turn !== undefined) await turn
    if (refcounts.blockOffset(index) === 0) continue
    for (let cluster = index * entries; cluster < (index + 1) * entries; ) {
      const block = Math.floor(cluster / geometry.refcountBlockEntries)
      const end = Math.min((index + 1) * entries, (block + 1) * geometry.refcountBlockEntries)
      await refcounts.get(cluster)
      while (cluster < end && refcounts.peek(cluster) === 0) cluster++
      if (cluster < end) blocks.add(block)
      cluster = end
    }
  }
  return [...blocks].sort((a, b) => a - b)
}

/** The counts of the old structure, without those that it takes itself. */
class CarriedCounts {
  private readonly state: Qcow2State
  private readonly plan: StructurePlan
  private readonly gone = new Set<number>()

  constructor(state: Qcow2State, plan: StructurePlan, claimedEnd: number) {
    this.state = state
    this.plan = plan
    const { geometry, refcounts, store } = state
    const { clusterSize } = geometry
    const { offset, data } = store.refcountTable
    for (let at = 0; at < data.byteLength; at += clusterSize) this.gone.add((offset + at) / clusterSize)
    for (let index = 0; index < refcounts.tableEntries; index++) {
      const block = refcounts.blockOffset(index)
      if (block !== 0) this.gone.add(block / clusterSize)
    }
    // More clusters may have been taken than are needed.
    for (let at = plan.first + structureClusters(plan); at < claimedEnd; at++) this.gone.add(at)
  }

  async fill(blockIndex: number, block: RefcountBlock): Promise<void> {
    const { geometry } = this.plan
    const { refcountBlockEntries: entries, refcountOrder, maxRefcount } = geometry
    const base = blockIndex * entries
    for (let index = 0; index < entries; index++) {
      let count = this.state.refcounts.peek(base + index)
      if (count < 0) count = await this.state.refcounts.get(base + index)
      if (count === 0 || this.gone.has(base + index)) continue
      if (count > maxRefcount) throw tooLarge(geometry, base + index, count)
      setRefcountAt(block, refcountOrder, index, count)
    }
  }
}

function tooLarge(geometry: Geometry, cluster: number, count: number): BlockError {
  const at = `0x${(cluster * geometry.clusterSize).toString(16)}`
  const width = `refcount entry width to ${geometry.refcountBits} bits`
  return new BlockError('EINVAL', `Cannot decrease ${width}: Cluster at offset ${at} has a refcount of ${count}`)
}
