import { Random, randomSeed } from '@diskgraph/driver-testkit'
import { changeBacking, rebase } from '@diskgraph/jobs'
import { describe, expect, it } from 'vitest'
import { contentOf, scribble, stack } from './stack.ts'

const size = 2 ** 21
const format = 'qcow2'

describe('a rebase', () => {
  const seed = randomSeed()
  it.each(Array.from({ length: 8 }, (_, i) => seed + i))('keeps what is read (seed %i)', async (own) => {
    const random = new Random(own)
    const { graph, ...make } = stack()
    await using _ = graph
    const base = await make.qcow2('base', { size: random.pick([size, size / 2]) })
    await scribble(base, random)
    await base.close()
    const other = await make.qcow2('other', { size: random.pick([size, size / 2, size * 2]), clusterSize: 4096 })
    await scribble(other, random)
    await other.close()
    const overlay = await make.qcow2('overlay', { size, backing: 'base' })
    await scribble(overlay, random, 4)
    const before = await contentOf(overlay)

    const backing = await graph.open('memory:other', { format, readOnly: true })
    await rebase(overlay, backing, { filename: 'memory:other', format })
    await backing.close()
    expect(overlay.node.backing?.node.filename).toBe('memory:other')
    expect(Buffer.compare(await contentOf(overlay), before)).toBe(0)
    await overlay.close()
    const again = await graph.open('memory:overlay', { format })
    expect(again.node.backing?.node.filename).toBe('memory:other')
    expect(Buffer.compare(await contentOf(again), before)).toBe(0)

    await rebase(again, undefined, { filename: undefined, format: undefined })
    expect(again.node.backing).toBe(undefined)
    expect(graph.find('other')).toBe(undefined)
    expect(Buffer.compare(await contentOf(again), before)).toBe(0)
  })

  it('onto a layer of its chain takes over what stood between, and compares nothing else', async () => {
    const { graph, ...make } = stack()
    await using _ = graph
    const base = await make.qcow2('base', { size })
    await base.write(0, new Uint8Array(size).fill(1))
    await base.close()
    const middle = await make.qcow2('middle', { size, backing: 'base' })
    await middle.write(65536, new Uint8Array(65536).fill(2))
    await middle.close()
    await (await make.qcow2('overlay', { size, backing: 'middle' })).close()
    const overlay = await graph.open('memory:overlay', { format })
    const before = await contentOf(overlay)
    const layer = overlay.node.backing?.node.backing?.node
    const backing = await graph.attach(layer ?? '')
    await rebase(overlay, backing, { filename: 'memory:base', format })
    expect(backing.statistics.read.bytes).toBe(65536)
    await backing.close()
    expect(overlay.node.backing?.node).toBe(layer)
    expect(Buffer.compare(await contentOf(overlay), before)).toBe(0)
    let own = 0
    for await (const { depth, length } of overlay.extents()) if (depth === 0) own += length
    expect(own).toBe(65536)
  })

  it('is refused for a format that records no backing file', async () => {
    const { graph, ...make } = stack()
    await using _ = graph
    const disk = await make.plain('disk', 1000)
    await expect(rebase(disk, undefined, { filename: undefined, format: undefined })).rejects.toMatchObject({
      code: 'ENOTSUP',
      message: "Could not change the backing file to '(null)': Operation not supported",
    })
  })
})

describe('a change of the reference alone', () => {
  it('leaves content to whoever wants it so', async () => {
    const { graph, ...make } = stack()
    await using _ = graph
    const base = await make.qcow2('base', { size })
    await base.write(0, new Uint8Array(size).fill(1))
    await base.close()
    const overlay = await make.qcow2('overlay', { size, backing: 'base' })
    await changeBacking(overlay, { filename: '', format: undefined })
    expect(overlay.node.backing).toBe(undefined)
    expect((await contentOf(overlay)).every((byte) => byte === 0)).toBe(true)
  })

  it('needs a format', async () => {
    const { graph, ...make } = stack()
    await using _ = graph
    const overlay = await make.qcow2('overlay', { size })
    await expect(changeBacking(overlay, { filename: 'memory:base', format: undefined })).rejects.toMatchObject({
      code: 'EINVAL',
      message: "Could not change the backing file to 'memory:base': backing format must be specified",
    })
  })
})
