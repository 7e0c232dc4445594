/** Images whose bitmaps are damaged in random ways: clear errors, in bounded time. */
import { Graph } from '@diskgraph/core'
import { qcow2 } from '@diskgraph/driver-qcow2'
import {
  MemoryFiles,
  mutate,
  type PagedFile,
  qcow2Fields,
  Random,
  randomSeed,
  useMutated,
} from '@diskgraph/driver-testkit'
import { expect, it } from 'vitest'

const seed = Number(process.env.SEED ?? randomSeed())
const size = 2 ** 18
const cases = Number(process.env.CASES ?? 400)

async function intact(): Promise<PagedFile> {
  const memory = new MemoryFiles()
  memory.put('image')
  const file = { driver: 'testkit-file', name: 'image' }
  await using graph = new Graph({ drivers: [qcow2, memory.driver] })
  await graph.createUnchecked({ driver: 'qcow2', size, clusterSize: 512, file })
  const disk = await graph.addUnchecked({ driver: 'qcow2', file })
  for (const granularity of [512, 4096]) {
    await disk.node.image.bitmaps?.add(disk.node.addDirtyBitmap(granularity, `b${granularity}`))
  }
  for (let at = 0; at < size; at += 8192) await disk.write(at, new Uint8Array(2048).fill(1))
  await graph.close()
  return memory.file('image')
}

it(`damage of bitmaps gives block errors, soon (seed ${seed})`, async () => {
  const image = await intact()
  const bytes = new Uint8Array(image.size)
  image.read(0, bytes)
  const fields = qcow2Fields(bytes).filter(({ name }) => /bitmap|extension|autoclear/.test(name))
  expect(fields.length).toBeGreaterThan(20)
  const faults: string[] = []
  for (let i = 0; i < cases; i++) {
    const random = new Random(seed + i)
    const damaged = image.clone()
    const what = mutate(damaged, fields, random)
    const use = await useMutated({ driver: qcow2 }, damaged, random)
    for (const fault of use.faults) faults.push(`case ${i}, ${what}: ${fault}`)
    if (use.milliseconds > 2000) faults.push(`case ${i}, ${what}: ${use.slowest} took ${use.milliseconds} ms`)
  }
  expect(faults).toEqual([])
})
