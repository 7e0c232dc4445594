/** Jobs on a disk that is written to meanwhile, and on a disk and itself: nothing that was acknowledged is lost. */
import type { Disk } from '@diskgraph/core'
import { Random } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { commit, copy, rebase } from '../src/index.ts'
import { type Stack, stack } from './stack.ts'

const mebibyte = 2 ** 20
const size = 4 * mebibyte
const sector = 512

/** An overlay half full of 3 over a base full of 1, both in storage that answers late, and another base full of 2. */
async function setUp(seed: number): Promise<Stack & { disk: Disk; other: Disk }> {
  const made = stack()
  for (const [name, value] of Object.entries({ base: 1, other: 2 })) {
    const disk = await made.qcow2(name, { size })
    await disk.write(0, new Uint8Array(size).fill(value))
    await disk.close()
  }
  const disk = await made.qcow2('top', { size, backing: 'base', faulty: true })
  await disk.write(0, new Uint8Array(size / 2).fill(3))
  const other = await made.graph.addUnchecked({
    driver: 'qcow2',
    readOnly: true,
    file: { driver: 'memory', name: 'other' },
  })
  made.faults.jitter = new Random(seed)
  return { ...made, disk, other }
}

/** Writes to one place after the other until `work` ends; what is read of them then is what was written last. */
async function whileWriting(disk: Disk, random: Random, work: Promise<unknown>): Promise<void> {
  let running = true
  const end = work.finally(() => {
    running = false
  })
  const last = new Map<number, number>()
  for (let i = 4; running; i++) {
    const at = random.below(64) * 65536 + sector
    await disk.write(at, new Uint8Array(sector).fill(4 + (i % 250)))
    last.set(at, 4 + (i % 250))
    // Storage in memory answers at once: without a turn nothing but this loop would run once a time slice is over.
    if (i % 16 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  await end
  expect(last.size).toBeGreaterThan(0)
  const buf = new Uint8Array(sector)
  for (const [at, value] of last) {
    await disk.read(at, buf)
    expect([at, buf[0], buf[sector - 1]]).toEqual([at, value, value])
  }
}

describe.each([1, 2, 3, 4, 5])('a disk that is written to meanwhile (seed %i)', (seed) => {
  it('loses nothing by a commit, which then leaves it as it is', async () => {
    const { graph, disk } = await setUp(seed)
    await using _ = graph
    await whileWriting(disk, new Random(seed), commit(disk))
  })

  it('loses nothing by a rebase, and what nobody wrote stays', async () => {
    const { graph, disk, other } = await setUp(seed)
    await using _ = graph
    await whileWriting(disk, new Random(seed), rebase(disk, other, { filename: 'memory:other', format: 'qcow2' }))
    const buf = new Uint8Array(1)
    for (const [at, value] of [
      [0, 3],
      [size - 1, 1],
    ] as const) {
      await disk.read(at, buf)
      expect([at, buf[0]]).toEqual([at, value])
    }
  })
})

it('a disk that nobody writes to is empty after a commit', async () => {
  const { graph, disk } = await setUp(1)
  await using _ = graph
  await commit(disk)
  const { value: extent } = await disk.extents().next()
  expect(extent).toMatchObject({ depth: 1, length: size })
})

it('a disk is not copied to itself, nor to another node over its storage', async () => {
  const { graph, disk } = await setUp(1)
  await using _ = graph
  const again = await graph.attach(disk.node)
  const storage = await graph.attach(disk.node.children.get('file')!.node, { permissions: 0 })
  for (const target of [disk, again, storage]) {
    await expect(copy(disk, target)).rejects.toMatchObject({ code: 'EINVAL' })
  }
  const buf = new Uint8Array(1)
  await disk.read(0, buf)
  expect(buf[0]).toBe(3)
})
