import { type Disk, Graph, Permission } from '@diskgraph/core'
import { copyOnRead } from '@diskgraph/driver-copy-on-read'
import { MemoryStorage, memoryDriver } from '@diskgraph/driver-memory'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { Faults, Random, randomSeed } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'

const cluster = 65536
const size = 4 * 2 ** 20 + 1536

interface Stack {
  readonly graph: Graph
  readonly disk: Disk
  /** Between the overlay and its storage. */
  readonly above: Faults
  /** Between the base and its storage. */
  readonly below: Faults
}

/** A base of ones, with zeroes in its second half, below an empty overlay below the filter. */
async function open(filter: object = {}): Promise<Stack> {
  const base = new MemoryStorage(size)
  base.write(0, new Uint8Array(size / 2).fill(1))
  const [above, below] = [new Faults(), new Faults()]
  const rename = (faults: Faults, name: string) => ({ ...faults.driver, name })
  const graph = new Graph({
    drivers: [
      copyOnRead,
      qcow2,
      memoryDriver(new Map([['base', base]])),
      rename(above, 'above'),
      rename(below, 'below'),
    ],
  })
  const overlay = { driver: 'memory', name: 'overlay' }
  await graph.createUnchecked({ driver: 'qcow2', size, file: overlay })
  const image = {
    driver: 'qcow2',
    nodeName: 'overlay',
    file: { driver: 'above', file: overlay },
    backing: { driver: 'below', file: { driver: 'memory', name: 'base' } },
  }
  const disk = await graph.addUnchecked({ driver: 'copy-on-read', file: image, ...filter })
  above.arm()
  below.arm()
  return { graph, disk, above, below }
}

/** The ranges that the overlay has itself, as offsets in clusters and whether they read as zeroes. */
async function kept({ disk, graph }: Stack): Promise<string> {
  const node = graph.find('overlay')
  let text = ''
  for (let at = 0; at < disk.size; at += cluster) {
    const status = await node?.blockStatus(at, 1)
    text += !status?.allocated ? '.' : status.zero ? '0' : '1'
  }
  return text.replace(/\.+$/, '')
}

async function read(disk: Disk, offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array> {
  const buf = new Uint8Array(length).fill(9)
  await disk.read(offset, buf, 0, signal)
  return buf
}

describe('copy-on-read', () => {
  it('keeps the whole clusters of what is read', async () => {
    const stack = await open()
    await using _ = stack.graph
    expect([...(await read(stack.disk, 2 * cluster + 100, 3))]).toEqual([1, 1, 1])
    expect(await kept(stack)).toBe('..1')
    await read(stack.disk, 5 * cluster - 1, 2)
    expect(await kept(stack)).toBe('..1.11')
  })

  it('keeps nothing that comes from below its bottom', async () => {
    const stack = await open({ bottom: 'overlay' })
    await using _ = stack.graph
    expect([...(await read(stack.disk, 2 * cluster + 100, 3))]).toEqual([1, 1, 1])
    expect(await kept(stack)).toBe('')
    await expect(open({ bottom: 'other' })).rejects.toThrow("node 'other' is not below 'overlay'")
  })

  it('asks the layers below only once', async () => {
    const stack = await open()
    await using _ = stack.graph
    await read(stack.disk, 0, 1000)
    const asked = stack.below.calls
    expect(asked).toBeGreaterThan(0)
    await read(stack.disk, 30_000, 30_000)
    expect(stack.below.calls).toBe(asked)
  })

  it('keeps zeroes as zeroes, and the end of a disk that is no whole cluster', async () => {
    const stack = await open()
    await using _ = stack.graph
    const half = await read(stack.disk, 0, size)
    expect(half.every((byte, i) => byte === (i < size / 2 ? 1 : 0))).toBe(true)
    // What is copied together, 1 MiB, is kept as zeroes if all of it is.
    expect(await kept(stack)).toBe(`${'1'.repeat(48)}${'0'.repeat(17)}`)
  })

  it('leaves what the image has itself alone', async () => {
    const stack = await open()
    await using _ = stack.graph
    await stack.disk.write(cluster, new Uint8Array(cluster).fill(2))
    await stack.disk.writeZeroes(3 * cluster, cluster)
    const buf = await read(stack.disk, 0, 5 * cluster)
    expect([0, 1, 2, 3, 4].map((i) => buf[i * cluster])).toEqual([1, 2, 1, 0, 1])
    expect(await kept(stack)).toBe('11101')
  })

  it('loses no write that comes while a copy is under way', async () => {
    const stack = await open()
    await using _ = stack.graph
    stack.below.hold('read')
    const reading = read(stack.disk, 0, 4096)
    await turns()
    const writing = stack.disk.write(0, new Uint8Array(4096).fill(2))
    const zeroing = stack.disk.writeZeroes(8192, 4096)
    await turns()
    stack.below.release()
    await Promise.all([reading, writing, zeroing])
    expect((await read(stack.disk, 0, 1))[0]).toBe(2)
    expect((await read(stack.disk, 4096, 1))[0]).toBe(1)
    expect((await read(stack.disk, 8192, 1))[0]).toBe(0)
  })

  it('lets readers of one cluster store it once', async () => {
    const stack = await open()
    await using _ = stack.graph
    stack.above.arm({ nth: Number.MAX_SAFE_INTEGER, kinds: ['write'] })
    await read(stack.disk, 0, 1000)
    const once = stack.above.calls
    await Promise.all(Array.from({ length: 8 }, (_, i) => read(stack.disk, cluster + i * 1000, 1000)))
    expect(stack.above.calls).toBeLessThanOrEqual(2 * once)
  })

  const seed = randomSeed()
  it(`shows what was written last, whatever else goes on in the same clusters (seed ${seed})`, async () => {
    const stack = await open()
    await using _ = stack.graph
    const random = new Random(seed)
    stack.above.jitter = random.fork()
    stack.below.jitter = random.fork()
    const expected = new Uint8Array(size).fill(1, 0, size / 2)
    for (let i = 0; i < 60; i++) {
      const slots = Array.from({ length: 8 }, () => random.below(1000))
      await Promise.all([...new Set(slots)].map((slot) => use(stack.disk, expected, slot * 4096 + 100, random)))
    }
    expect(Buffer.compare(await read(stack.disk, 0, size), expected)).toBe(0)
  })

  it('looks through filters above the image', async () => {
    const stack = await open()
    await using _ = stack.graph
    await stack.graph.insertFilterUnchecked('overlay', { driver: new Faults().driver })
    await read(stack.disk, 0, 10)
    expect(await kept(stack)).toBe('1')
  })

  it('fails a read whose copy cannot be stored, and copies at the next', async () => {
    const stack = await open()
    await using _ = stack.graph
    stack.above.arm({ nth: 1, code: 'ENOSPC', kinds: ['write'] })
    await expect(read(stack.disk, 0, 10)).rejects.toMatchObject({ code: 'ENOSPC' })
    expect((await read(stack.disk, 0, 1))[0]).toBe(1)
    expect(await kept(stack)).toBe('1')
  })

  it('holds nobody up after a copy that was aborted', async () => {
    const stack = await open()
    await using _ = stack.graph
    const controller = new AbortController()
    stack.below.arm({ nth: 1, kinds: ['read'], onHit: () => controller.abort() })
    await expect(read(stack.disk, 0, 10, controller.signal)).rejects.toMatchObject({ code: 'ECANCELED' })
    await stack.disk.write(0, new Uint8Array(10).fill(2))
    expect([...(await read(stack.disk, 9, 2))]).toEqual([2, 1])
  })

  it('refuses an image that is read-only, or becomes it', async () => {
    await expect(open({ readOnly: true })).rejects.toMatchObject({ code: 'EPERM', node: 'overlay' })
    const stack = await open()
    await using _ = stack.graph
    await expect(stack.graph.reopen('overlay', { readOnly: true })).rejects.toMatchObject({ code: 'EPERM' })
    await read(stack.disk, 0, 1)
    expect(await kept(stack)).toBe('1')
  })

  it('may write what changes nothing', async () => {
    const stack = await open()
    await using _ = stack.graph
    const reader = await stack.graph.attach(stack.disk.node, { permissions: Permission.ConsistentRead })
    await stack.disk.close()
    expect((await read(reader, 0, 1))[0]).toBe(1)
    expect(await kept(stack)).toBe('1')
  })

  it('keeps what is read through it while it takes no writes itself', async () => {
    const stack = await open()
    await using _ = stack.graph
    const reader = await stack.graph.attach(stack.disk.node, { permissions: Permission.ConsistentRead })
    await stack.disk.close()
    await stack.graph.reopen(reader.node, { readOnly: true })
    await read(reader, 0, 1)
    expect(await kept(stack)).toBe('1')
    await expect(reader.write(0, new Uint8Array(1))).rejects.toMatchObject({ code: 'EPERM' })
  })

  it('comes and goes while a disk is in use', async () => {
    const stack = await open()
    await using _ = stack.graph
    await stack.graph.removeFilter(stack.disk.node)
    await read(stack.disk, 0, 10)
    expect(await kept(stack)).toBe('')
    await stack.graph.insertFilter(stack.disk.node, { driver: 'copy-on-read' })
    await read(stack.disk, 0, 10)
    expect(await kept(stack)).toBe('1')
  })
})

/** Reads or changes 3000 bytes at `offset`. */
async function use(disk: Disk, expected: Uint8Array, offset: number, random: Random): Promise<void> {
  const model = expected.subarray(offset, offset + 3000)
  const kind = random.pick(['read', 'write', 'zero'])
  if (kind === 'read') expect(Buffer.compare(await read(disk, offset, 3000), model)).toBe(0)
  else if (kind === 'write') {
    model.set(random.bytes(3000))
    await disk.write(offset, model.slice())
  } else {
    model.fill(0)
    await disk.writeZeroes(offset, 3000)
  }
}

async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
}
