/** Jobs on a disk that is written to meanwhile, and on a disk and itself: nothing that was acknowledged is lost. */
import { type Disk, Graph } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { raw } from '@diskgraph/driver-raw'
import { describe, expect, it } from 'vitest'
import { commit, copy, rebase } from '../src/index.ts'

const mebibyte = 2 ** 20

async function setUp(): Promise<{ graph: Graph; disk: Disk }> {
  const graph = new Graph({ drivers: [memory, qcow2, raw] })
  for (const name of ['base', 'other']) {
    await graph.createUnchecked({ driver: 'qcow2', size: 8 * mebibyte, file: { driver: 'memory', name } })
    const disk = await graph.addUnchecked({ driver: 'qcow2', file: { driver: 'memory', name } })
    await disk.write(0, new Uint8Array(8 * mebibyte).fill(name === 'base' ? 1 : 2))
    await disk.close()
  }
  await graph.createUnchecked({ driver: 'qcow2', size: 8 * mebibyte, file: { driver: 'memory', name: 'top' } })
  const disk = await graph.addUnchecked({
    driver: 'qcow2',
    nodeName: 'top',
    file: { driver: 'memory', name: 'top' },
    backing: { driver: 'qcow2', readOnly: true, file: { driver: 'memory', name: 'base' } },
  })
  await disk.write(0, new Uint8Array(4 * mebibyte).fill(3))
  return { graph, disk }
}

/** Writes to places one after the other until `work` ends; what is read of them then is what was written last. */
async function whileWriting(disk: Disk, work: Promise<unknown>): Promise<void> {
  let running = true
  const end = work.finally(() => {
    running = false
  })
  const last = new Map<number, number>()
  for (let i = 1; running; i++) {
    const at = ((i * 37) % 128) * 65536 + 512
    await disk.write(at, new Uint8Array(512).fill(i % 251))
    last.set(at, i % 251)
    await new Promise((resolve) => setImmediate(resolve))
  }
  await end
  for (const [at, value] of last) {
    const buf = new Uint8Array(512)
    await disk.read(at, buf)
    expect([at, buf[0], buf[511]]).toEqual([at, value, value])
  }
}

describe('a disk that is written to meanwhile', () => {
  it('loses nothing by a commit, which then leaves it as it is', async () => {
    const { graph, disk } = await setUp()
    await using _ = graph
    await whileWriting(disk, commit(disk))
  })

  it('loses nothing by a rebase', async () => {
    const { graph, disk } = await setUp()
    await using _ = graph
    const other = await graph.addUnchecked({
      driver: 'qcow2',
      readOnly: true,
      file: { driver: 'memory', name: 'other' },
    })
    await whileWriting(disk, rebase(disk, other, { filename: 'other', format: 'qcow2' }))
    const buf = new Uint8Array(1)
    await disk.read(8 * mebibyte - 1, buf)
    expect(buf[0]).toBe(1)
    await other.close()
  })
})

it('a disk that nobody writes to is empty after a commit', async () => {
  const { graph, disk } = await setUp()
  await using _ = graph
  await commit(disk)
  const { value: extent } = await disk.extents().next()
  expect(extent).toMatchObject({ depth: 1, length: 8 * mebibyte })
})

it('a disk is not copied to itself, nor to another node over its storage', async () => {
  const { graph, disk } = await setUp()
  await using _ = graph
  const again = await graph.attach('top')
  const storage = await graph.attach(disk.node.children.get('file')!.node, { permissions: 0 })
  for (const target of [disk, again, storage]) {
    await expect(copy(disk, target)).rejects.toMatchObject({ code: 'EINVAL' })
  }
  const buf = new Uint8Array(1)
  await disk.read(0, buf)
  expect(buf[0]).toBe(3)
})
