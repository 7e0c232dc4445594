import { type Disk, Graph, Permission } from '@diskgraph/core'
import { copyBeforeWrite, snapshotAccess } from '@diskgraph/driver-copy-before-write'
import { MemoryStorage, memory, memoryDriver } from '@diskgraph/driver-memory'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { Faults, mustShowExample, Random, randomSeed, VirtualClock } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'

const unit = 65536
const size = 2 ** 21 + 1536

interface Stack {
  readonly graph: Graph
  readonly disk: Disk
  /** Shows the disk as it was when the filter was put in. */
  readonly snapshot: Disk
  readonly before: Uint8Array
  /** Between the filter and its target. */
  readonly faults: Faults
}

async function open(options: object = {}, clock?: VirtualClock): Promise<Stack> {
  const storage = new MemoryStorage(size)
  const before = new Random(1).bytes(size)
  before.fill(0, 5 * unit, 8 * unit)
  storage.write(0, before.subarray(0, 5 * unit))
  storage.write(8 * unit, before.subarray(8 * unit))
  const faults = new Faults()
  const storages = new Map([
    ['disk', storage],
    ['target', new MemoryStorage(size)],
  ])
  const drivers = [copyBeforeWrite, snapshotAccess, memoryDriver(storages), faults.driver]
  const graph = new Graph({ drivers, ...(clock && { clock }) })
  const disk = await graph.addUnchecked({ driver: 'memory', name: 'disk', nodeName: 'disk' })
  await graph.addNode({ driver: 'testkit-fault', nodeName: 'target', file: { driver: 'memory', name: 'target' } })
  await graph.insertFilterUnchecked('disk', {
    driver: 'copy-before-write',
    nodeName: 'filter',
    target: 'target',
    ...options,
  })
  const snapshot = await graph.addUnchecked({ driver: 'snapshot-access', file: 'filter' })
  faults.arm()
  return { graph, disk, snapshot, before, faults }
}

async function contentOf(disk: Disk): Promise<Uint8Array> {
  const buf = new Uint8Array(disk.size)
  await disk.read(0, buf)
  return buf
}

const same = (one: Uint8Array, other: Uint8Array): boolean => Buffer.compare(one, other) === 0

describe('copy-before-write', () => {
  it('keeps the moment in which it was put in, whatever changes', async () => {
    const { graph, disk, snapshot, before } = await open()
    await using _ = graph
    await disk.write(100, new Uint8Array(200_000).fill(9))
    await disk.writeZeroes(12 * unit + 5, unit)
    await disk.discard(20 * unit, 2 * unit)
    await disk.write(6 * unit, new Uint8Array(3).fill(1))
    expect(same(await contentOf(snapshot), before)).toBe(true)
    const now = await contentOf(disk)
    expect([now[100], now[12 * unit + 5], now[6 * unit]]).toEqual([9, 0, 1])
    await graph.removeFilter('filter').catch(() => undefined)
  })

  const seed = randomSeed()
  it(`keeps it while many write at once, and storage answers late (seed ${seed})`, async () => {
    const { graph, disk, snapshot, before, faults } = await open()
    await using _ = graph
    const random = new Random(seed)
    faults.jitter = random.fork()
    const requests: Promise<unknown>[] = []
    for (let i = 0; i < 60; i++) {
      const offset = random.below(size - 5000)
      const buf = new Uint8Array(random.between(1, 5000))
      if (random.chance(0.3)) {
        const read = snapshot.read(offset, buf)
        requests.push(read.then(() => expect(same(buf, before.subarray(offset, offset + buf.length))).toBe(true)))
      } else requests.push(disk.write(offset, buf.fill(i)))
    }
    await Promise.all(requests)
    expect(same(await contentOf(snapshot), before)).toBe(true)
  })

  it('tells where the moment reads as zeroes', async () => {
    const { graph, disk, snapshot } = await open()
    await using _ = graph
    await disk.write(6 * unit, new Uint8Array(unit).fill(1))
    for (const at of [5 * unit, 6 * unit, 7 * unit]) {
      expect(await snapshot.status(at, unit)).toMatchObject({ zero: true, present: true })
    }
    expect(await snapshot.status(0, unit)).toMatchObject({ zero: false })
  })

  it('copies a unit once', async () => {
    const { graph, disk, faults } = await open()
    await using _ = graph
    await Promise.all(Array.from({ length: 8 }, (_, i) => disk.write(i * 100, new Uint8Array(50).fill(i))))
    expect(faults.calls).toBe(1)
  })

  it('fails the change whose old data cannot be kept', async () => {
    const { graph, disk, snapshot, before, faults } = await open()
    await using _ = graph
    faults.arm({ nth: 1, code: 'ENOSPC', kinds: ['write'] })
    await expect(disk.write(0, new Uint8Array(5))).rejects.toMatchObject({ code: 'ENOSPC' })
    expect((await contentOf(disk))[0]).toBe(before[0])
    await disk.write(0, new Uint8Array(5))
    expect(same(await contentOf(snapshot), before)).toBe(true)
  })

  it('gives up the moment instead, when it is told to', async () => {
    const { graph, disk, snapshot, faults } = await open({ onCbwError: 'break-snapshot' })
    await using _ = graph
    faults.arm({ nth: 1, code: 'ENOSPC', kinds: ['write'], lasting: true })
    await disk.write(0, new Uint8Array(5).fill(3))
    expect((await contentOf(disk))[0]).toBe(3)
    await expect(snapshot.read(0, new Uint8Array(5))).rejects.toMatchObject({ code: 'EACCES' })
    await expect(snapshot.status(0, 5)).rejects.toMatchObject({ code: 'EACCES' })
    await disk.write(size - 5, new Uint8Array(5).fill(3))
    expect(faults.hits).toHaveLength(1)
  })

  it('does not wait for ever, when it is told to', async () => {
    const clock = new VirtualClock()
    const { graph, disk, faults } = await open({ cbwTimeout: 2 }, clock)
    faults.hold('write')
    const work = disk.write(0, new Uint8Array(5)).catch((error) => error)
    expect(await clock.run(work, () => undefined)).toMatchObject({ code: 'ETIMEDOUT' })
    expect(clock.now()).toBe(2000)
    faults.release()
    await graph.close()
  })

  it('keeps the moment when a copy that took too long goes on beside other writes', async () => {
    const clock = new VirtualClock()
    const { graph, disk, snapshot, faults, before } = await open({ cbwTimeout: 2 }, clock)
    faults.hold('write')
    const work = disk.write(0, new Uint8Array(12 * unit)).catch((error) => error)
    expect(await clock.run(work, () => undefined)).toMatchObject({ code: 'ETIMEDOUT' })
    faults.release()
    // The copy goes on, with pieces that it has not read yet; this changes one of them.
    await clock.run(disk.write(11 * unit, new Uint8Array(unit).fill(9)), () => undefined)
    await clock.run(disk.flush(), () => undefined)
    expect(same(await contentOf(snapshot), before)).toBe(true)
    await graph.close()
  })

  it('keeps what a bitmap has marked, and refuses to show the rest', async () => {
    const { graph, disk, snapshot: _all, before } = await open()
    await using _ = graph
    const bitmap = graph.find('disk')?.addDirtyBitmap(unit, 'bits')
    bitmap?.set(unit, unit)
    await graph.addNode({ driver: 'memory', name: 'other', nodeName: 'other', size })
    const options = { driver: 'copy-before-write', target: 'other', nodeName: 'upper' }
    const by = (name: string) => ({ ...options, bitmap: { node: 'disk', name } })
    await expect(graph.insertFilterUnchecked('filter', by('none'))).rejects.toThrow("Dirty bitmap 'none' not found")
    await graph.insertFilterUnchecked('filter', by('bits'))
    const moment = await graph.addUnchecked({ driver: 'snapshot-access', file: 'upper' })
    await disk.write(0, new Uint8Array(3 * unit).fill(9))
    const buf = new Uint8Array(unit)
    await moment.read(unit, buf)
    expect(same(buf, before.subarray(unit, 2 * unit))).toBe(true)
    for (const at of [0, unit - 1, unit + 1]) {
      await expect(moment.read(at, buf)).rejects.toMatchObject({ code: 'EACCES' })
    }
    await expect(moment.status(0, unit)).rejects.toMatchObject({ code: 'EACCES' })
    expect(await moment.status(unit, 5 * unit)).toMatchObject({ length: unit })
  })

  it('shows the moment in a target that stands on the disk, too', async () => {
    const storages = new Map([['disk', new MemoryStorage(size)]])
    const faults = new Faults()
    await using graph = new Graph({ drivers: [copyBeforeWrite, memoryDriver(storages), qcow2, faults.driver] })
    const disk = await graph.addUnchecked({ driver: 'testkit-fault', file: { driver: 'memory', name: 'disk' } })
    await disk.write(0, new Random(1).bytes(size))
    const before = await contentOf(disk)
    const file = { driver: 'memory', name: 'scratch' }
    await graph.createUnchecked({ driver: 'qcow2', size, file })
    await graph.addNode({ driver: 'qcow2', nodeName: 'scratch', file, backing: disk.node })
    await graph.insertFilterUnchecked(disk.node, { driver: 'copy-before-write', target: 'scratch' })
    const { ConsistentRead, All, BackingChange } = Permission
    const reader = await graph.attach('scratch', { permissions: ConsistentRead, shared: All | BackingChange })
    const random = new Random(seed)
    faults.jitter = random.fork()
    const requests: Promise<unknown>[] = []
    for (let i = 0; i < 200; i++) {
      const offset = random.below(size / 2)
      const buf = new Uint8Array(random.between(1, 100_000))
      if (random.chance(0.5)) requests.push(disk.write(offset, buf.fill(i)))
      else {
        const read = reader.read(offset, buf)
        requests.push(read.then(() => expect(same(buf, before.subarray(offset, offset + buf.length))).toBe(true)))
      }
    }
    await Promise.all(requests)
    expect(same(await contentOf(reader), before)).toBe(true)
  })

  it('lets nobody write below it', async () => {
    const { graph } = await open()
    await using _ = graph
    for (const node of ['disk', 'target']) {
      await expect(graph.attach(node)).rejects.toMatchObject({ code: 'EPERM' })
    }
  })
})

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
  await using graph = new Graph({ drivers: [copyBeforeWrite, snapshotAccess, memory] })
  const disk = await graph.add({ driver: 'memory', nodeName: 'disk', size: 2 ** 20 })
  await graph.addNode({ driver: 'memory', nodeName: 'old', size: 2 ** 20 })
  await graph.insertFilter('disk', { driver: 'copy-before-write', nodeName: 'filter', target: 'old' })
  const moment = await graph.add({ driver: 'snapshot-access', file: 'filter' })
  await disk.write(0, new Uint8Array(512).fill(1))
  const buf = new Uint8Array(512)
  await moment.read(0, buf) // zeroes: the disk as it was
  expect(buf[0]).toBe(0)
})
