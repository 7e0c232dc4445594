import { type BlockError, type Disk, Graph } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import { V86Disk } from '@diskgraph/v86'
import { describe, expect, it } from 'vitest'

async function diskOf(graph: Graph): Promise<Disk> {
  const disk = await graph.add({ driver: 'memory', size: 65536 })
  await disk.write(
    0,
    new Uint8Array(65536).map((_, i) => i),
  )
  return disk
}

describe('a disk of v86', () => {
  it('has its first sector at hand once it is loaded, and nothing else', async () => {
    await using graph = new Graph({ drivers: [memory] })
    const image = new V86Disk(await diskOf(graph), () => {})
    await new Promise((resolve) => {
      image.onload = resolve
      image.load()
    })
    expect(image.get_from_cache(0, 512)).toEqual(new Uint8Array(512).map((_, i) => i))
    expect(image.get_from_cache(512, 512)).toBeUndefined()
  })

  it('answers no request that failed, and tells of it', async () => {
    await using graph = new Graph({ drivers: [memory] })
    const disk = await diskOf(graph)
    const errors: BlockError[] = []
    const image = new V86Disk(disk, (error) => errors.push(error))
    await disk.close()
    let answers = 0
    image.get(0, 512, () => answers++)
    image.set(0, new Uint8Array(512), () => answers++)
    await expect.poll(() => errors.length).toBe(2)
    expect(answers).toBe(0)
  })

  it('goes on with the state of a disk of the same size only', async () => {
    await using graph = new Graph({ drivers: [memory] })
    const image = new V86Disk(await diskOf(graph), () => {})
    image.set_state(image.get_state())
    expect(() => image.set_state([4096])).toThrow('a disk of 4096 bytes')
  })
})
