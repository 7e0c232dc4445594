import { expect, it } from 'vitest'
import { done, type OpenImage } from '../src/driver.ts'
import { Flag, Permission, Root } from '../src/index.ts'
import { FakeDrivers, isPending } from './fake-drivers.ts'

async function disk(extra: Partial<OpenImage> = {}) {
  const fakes = new FakeDrivers()
  const graph = fakes.graph()
  fakes.extra.set('a', extra)
  return { fakes, graph, disk: await graph.addUnchecked({ driver: 'disk', nodeName: 'a', discard: 'unmap' }) }
}

const name = `disk 'json:{"driver": "disk"}'`

it('a refused request says what was attempted, on what, and why', async () => {
  const { graph, disk: root } = await disk()
  const closed = await graph.attach('a')
  await closed.close()
  const empty = await graph.attach('a')
  await graph.change((change) => change.move(empty.edge, undefined))
  const cases: [Promise<unknown>, string][] = [
    [root.read(4096, new Uint8Array(2)), `cannot read 2 bytes at 4096 of ${name}: the disk ends at 4096`],
    [root.write(4095, new Uint8Array(2)), `cannot write 2 bytes at 4095 of ${name}: the disk ends at 4096`],
    [root.writeZeroes(0, 4097), `cannot zero 4097 bytes at 0 of ${name}: the disk ends at 4096`],
    [root.discard(1, 4096), `cannot discard 4096 bytes at 1 of ${name}: the disk ends at 4096`],
    [root.read(-1, new Uint8Array(1)), `cannot read ${name}: the offset -1 is not a whole number of bytes`],
    [root.discard(0, 0.5), `cannot discard ${name}: the length 0.5 is not a whole number of bytes`],
    [root.status(0, 0), 'there is no status of 0 bytes at 0'],
    [root.status(0.5, 1), 'there is no status of 1 bytes at 0.5'],
    [closed.read(0, new Uint8Array(1)), `cannot read ${name}: it is closed`],
    [closed.write(0, new Uint8Array(1)), `cannot write ${name}: it is closed`],
    [closed.writeZeroes(0, 1), `cannot zero ${name}: it is closed`],
    [closed.discard(0, 1), `cannot discard ${name}: it is closed`],
    [closed.flush(), `cannot flush ${name}: it is closed`],
    [closed.status(0, 1), `cannot use ${name}: it is closed`],
    [empty.flush(), `cannot flush ${name}: it has no medium`],
    [empty.read(0, new Uint8Array(0)), `cannot read 0 bytes at 0 of ${name}: it has no medium`],
  ]
  for (const [request, message] of cases) await expect(request).rejects.toThrow(message)
  await graph.close()
})

it('a request longer than any may be is refused, and one of just that length is not', async () => {
  const longest = 2 ** 31 - 512
  const { graph, disk: root } = await disk({ size: 2 ** 40, read: async () => undefined })
  // A view that says that it is long stands for one that is.
  const long = (length: number) => Object.defineProperty(new Uint8Array(1), 'length', { value: length })
  await expect(root.read(0, long(longest + 1))).rejects.toThrow(`a request is at most ${longest} bytes long`)
  await root.read(0, long(longest))
  await graph.close()
})

it('requests of an image that has finished at once are counted and told as well', async () => {
  const { graph, disk: root } = await disk({ read: () => done, write: () => done })
  const told: unknown[] = []
  expect(root.read(0, new Uint8Array(1))).toBe(done)
  root.observer = (kind, bytes, _begin, failed) => {
    told.push([kind, bytes, failed])
    if (bytes === 3) throw new Error('observer')
  }
  for (const length of [2, 3]) {
    await root.read(0, new Uint8Array(length))
    await root.write(0, new Uint8Array(length))
  }
  expect(told).toEqual([
    ['read', 2, false],
    ['write', 2, false],
    ['read', 3, false],
    ['write', 3, false],
  ])
  expect(root.statistics.read.totals()).toMatchObject({ operations: 3, bytes: 6, failed: 0 })
  await graph.drained('a', async () => undefined)
  await graph.close()
})

it('what is kept back is done later with the same arguments', async () => {
  const seen: unknown[] = []
  const { graph, disk: root } = await disk({
    writeZeroes: async (offset, length, flags) => void seen.push(['zeroes', offset, length, flags]),
    zeroFlags: Flag.MayUnmap,
    discard: async (offset, length) => void seen.push(['discard', offset, length]),
    write: async (offset, buf, flags) => void seen.push(['write', offset, buf.length, flags]),
    read: async (offset, buf, flags) => void seen.push(['read', offset, buf.length, flags]),
    writeFlags: Flag.Fua,
  })
  let later: Promise<unknown> = Promise.resolve()
  await graph.drained('a', async () => {
    later = Promise.all([
      root.writeZeroes(512, 1024, Flag.MayUnmap),
      root.discard(1024, 512),
      root.write(7, new Uint8Array(5), Flag.Fua),
      root.read(9, new Uint8Array(6), 0),
    ])
    expect(await isPending(later)).toBe(true)
    expect(seen).toEqual([])
  })
  await later
  expect(seen.sort()).toEqual([
    ['discard', 1024, 512],
    ['read', 9, 6, 0],
    ['write', 7, 5, Flag.Fua],
    ['zeroes', 512, 1024, Flag.MayUnmap],
  ])
  await graph.close()
})

it('a detach that is undone lets the requests go on that it held', async () => {
  const { graph, disk: root } = await disk()
  let held: Promise<unknown> = Promise.resolve()
  const change = graph.change(async (change) => {
    await change.detach(root)
    held = root.read(0, new Uint8Array(1))
    expect(await isPending(held)).toBe(true)
    throw new Error('undone')
  })
  await expect(change).rejects.toThrow('undone')
  await held
  expect(root.closed).toBe(false)
  await graph.close()
})

it('a listener of the size is told once for each size, and one that fails is a warning', async () => {
  const { fakes, graph, disk: root } = await disk()
  const told: number[] = []
  root.onResize((size) => {
    told.push(size)
    throw new Error('listener')
  })
  root.resized()
  await root.truncate(512)
  root.resized()
  expect(told).toEqual([512])
  expect(fakes.warnings).toEqual(['a listener of a size failed: listener'])
  await graph.close()
})

it('a root of a program itself is a user like any other', async () => {
  const { graph } = await disk()
  const node = graph.find('a') as never
  const permissions = { permissions: Permission.ConsistentRead | Permission.Write, shared: Permission.All }
  const root = new Root(node, { description: "job 'j'", permissions, writethrough: false })
  await graph.attachRoot(root, { permissions })
  expect([root.edge.name, root.edge.role, root.edge.parentName]).toEqual(['root', 'storage', "job 'j'"])
  expect(root.edge.describe()).toBe("job 'j' (uses node 'a' as 'root' child)")
  await root.write(0, new Uint8Array(1))
  await graph.detachRoot(root)
  await graph.close()
})
