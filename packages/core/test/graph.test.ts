import { expect, test } from 'vitest'
import { type BlockError, Graph } from '../src/index.ts'
import { cowish, cowishImage, pass, ram, raw, Storage } from './drivers.ts'

function setUp(settings: Partial<ConstructorParameters<typeof Graph>[0]> = {}) {
  const storage = new Storage()
  const graph = new Graph({ drivers: [ram(storage), pass, cowish, raw], ...settings })
  return { storage, graph }
}

test('a stack of nodes reads what was written through it', async () => {
  const { storage, graph } = setUp()
  storage.disks.set('a', new Uint8Array(4096))
  const disk = await graph.addUnchecked({
    driver: 'pass',
    file: { driver: 'pass', file: { driver: 'ram', disk: 'a' } },
  })
  await disk.write(100, new Uint8Array([1, 2, 3]))
  const buf = new Uint8Array(5)
  await disk.read(99, buf)
  expect([...buf]).toEqual([0, 1, 2, 3, 0])
  await disk.close()
  expect([...graph.nodes]).toEqual([])
  expect(storage.log.at(-1)).toBe('close a')
})

test('a backing file shows through an overlay and past its own end reads as zeroes', async () => {
  const { storage, graph } = setUp({ references: 'allow' })
  storage.disks.set('base', new Uint8Array(64).fill(7))
  storage.disks.set('top', cowishImage(128, 'ram:base', 'raw'))
  const disk = await graph.open('ram:top')
  const buf = new Uint8Array(128)
  await disk.read(0, buf)
  expect(buf[0]).toBe(7)
  expect(buf[64]).toBe(0)
  const extents = []
  for await (const { offset, length, data, zero, depth } of disk.extents())
    extents.push({ offset, length, data, zero, depth })
  expect(extents).toEqual([
    { offset: 0, length: 64, data: true, zero: false, depth: 1 },
    { offset: 64, length: 64, data: false, zero: true, depth: 0 },
  ])
  await graph.close()
})

test('a chain that loops is refused at once, and the message names the loop', async () => {
  const { storage, graph } = setUp({ references: 'allow' })
  storage.disks.set('a', cowishImage(64, 'ram:b', 'cowish'))
  storage.disks.set('b', cowishImage(64, 'ram:a', 'cowish'))
  await expect(graph.open('ram:a', { format: 'cowish' })).rejects.toThrow('Backing chain loops: ram:a → ram:b → ram:a')
  expect([...graph.nodes]).toEqual([])
})

test('references inside images are refused by default, with the reason and the way out', async () => {
  const { storage, graph } = setUp()
  storage.disks.set('base', new Uint8Array(64))
  storage.disks.set('top', cowishImage(64, 'ram:base', 'raw'))
  const error: BlockError = await graph.open('ram:top', { format: 'cowish' }).then(
    () => expect.unreachable(),
    (e) => e,
  )
  expect(error.code).toBe('EACCES')
  expect(error.message).toContain("refusing to open the backing file 'ram:base': it names a protocol")
  expect(error.hint).toContain("references: 'allow'")
  expect(storage.log.filter((line) => line.startsWith('close'))).toEqual(['close top'])
})

test('a chain of 1,000 images opens within a second of computing when the depth is allowed', async () => {
  const { storage, graph } = setUp({ references: 'allow', maxDepth: 1000 })
  storage.disks.set('0', new Uint8Array(64).fill(9))
  for (let i = 1; i <= 1000; i++) storage.disks.set(`${i}`, cowishImage(64, `ram:${i - 1}`, i === 1 ? 'raw' : 'cowish'))
  const start = process.cpuUsage()
  const disk = await graph.open('ram:1000', { format: 'cowish' })
  const { user, system } = process.cpuUsage(start)
  const buf = new Uint8Array(1)
  await disk.read(0, buf)
  expect(buf[0]).toBe(9)
  expect((user + system) / 1000).toBeLessThan(1000)
  await graph.close()
})

test('a chain deeper than the limit is refused', async () => {
  const { storage, graph } = setUp({ references: 'allow', maxDepth: 3 })
  storage.disks.set('0', new Uint8Array(64))
  for (let i = 1; i <= 5; i++) storage.disks.set(`${i}`, cowishImage(64, `ram:${i - 1}`, i === 1 ? 'raw' : 'cowish'))
  await expect(graph.open('ram:5', { format: 'cowish' })).rejects.toThrow('deeper than 3 images')
  expect([...graph.nodes]).toEqual([])
})

test('an unaligned write keeps its neighbours, also when two of them meet in one block', async () => {
  const storage = new Storage()
  const graph = new Graph({ drivers: [ram(storage, { alignment: 512 })] })
  storage.disks.set('a', new Uint8Array(4096).fill(1))
  const disk = await graph.addUnchecked({ driver: 'ram', disk: 'a', pace: 1 })
  await Promise.all([disk.write(10, new Uint8Array(10).fill(2)), disk.write(30, new Uint8Array(600).fill(3))])
  const buf = new Uint8Array(700)
  await disk.read(0, buf)
  const expected = new Uint8Array(700).fill(1)
  expected.fill(2, 10, 20)
  expected.fill(3, 30, 630)
  expect(buf).toEqual(expected)
  await graph.close()
})

test('an unknown driver is refused with the way to install it', async () => {
  const { graph } = setUp()
  await expect(graph.addUnchecked({ driver: 'vmdk' })).rejects.toMatchObject({
    message: "Could not open 'vmdk': Unknown driver 'vmdk'",
    hint: expect.stringContaining('no driver of that name is registered'),
  })
})

test('a conflict of permissions names both users', async () => {
  const { storage, graph } = setUp()
  storage.disks.set('a', cowishImage(64))
  await graph.addNode({ driver: 'ram', disk: 'a', nodeName: 'store' })
  const disk = await graph.addUnchecked({ driver: 'cowish', file: 'store', nodeName: 'fmt' })
  await expect(graph.attach('store')).rejects.toThrow(
    "permissions 'write' are both required by disk 'ram:a' (uses node 'store' as 'root' child) and unshared by node 'fmt'",
  )
  await disk.close()
  const second = await graph.attach('store')
  await second.close()
  await graph.close()
})

test('a filter goes in and out under load without losing a byte', async () => {
  const { storage, graph } = setUp()
  storage.disks.set('a', new Uint8Array(4096))
  const disk = await graph.addUnchecked({ driver: 'ram', disk: 'a', nodeName: 'store', pace: 1 })
  const writes = Array.from({ length: 64 }, async (_, i) => {
    await new Promise((resolve) => setTimeout(resolve, i % 8))
    await disk.write(i * 64, new Uint8Array(64).fill(i + 1))
  })
  await new Promise((resolve) => setTimeout(resolve, 2))
  const filter = await graph.insertFilterUnchecked('store', { driver: 'pass', nodeName: 'filter' })
  expect(disk.node).toBe(filter)
  await graph.removeFilter('filter')
  expect(disk.nodeName).toBe('store')
  await Promise.all(writes)
  const content = storage.disks.get('a') as Uint8Array
  for (let i = 0; i < 64; i++) expect(content[i * 64 + 63]).toBe(i + 1)
  await graph.close()
})

test('options are validated with their path, and slips get a suggestion', async () => {
  const { graph } = setUp()
  await expect(
    graph.addUnchecked({ driver: 'pass', file: { driver: 'ram', disk: 'a', cache: { direkt: true } } }),
  ).rejects.toMatchObject({
    message: expect.stringContaining("the option 'cache.direkt'"),
    hint: "did you mean 'direct'?",
  })
})

test('reopen changes the mode of a node and its children agree', async () => {
  const { storage, graph } = setUp()
  storage.disks.set('a', new Uint8Array(512))
  const disk = await graph.addUnchecked({ driver: 'pass', nodeName: 'top', file: { driver: 'ram', disk: 'a' } })
  await expect(graph.reopen('top', { nodeName: 'x' })).rejects.toThrow("Cannot change the option 'nodeName'")
  await graph.reopen('top', { detectZeroes: 'on' })
  storage.log.length = 0
  await disk.write(0, new Uint8Array(512))
  expect(storage.log).toEqual(['write 0+512'])
  await graph.close()
})

test('a probed raw disk may not turn into another format by a write to its first sector', async () => {
  const { storage, graph } = setUp()
  storage.disks.set('a', new Uint8Array(1024))
  const disk = await graph.open('ram:a')
  expect(disk.node.driver.name).toBe('raw')
  await expect(disk.write(0, cowishImage(448))).rejects.toMatchObject({ code: 'EPERM' })
  await disk.write(0, new Uint8Array(512).fill(3))
  await graph.close()
})

test('requests wait while a drained section runs', async () => {
  const { storage, graph } = setUp()
  storage.disks.set('a', new Uint8Array(512))
  const disk = await graph.addUnchecked({ driver: 'ram', disk: 'a', nodeName: 'n' })
  const order: string[] = []
  let write: Promise<unknown> | undefined
  await graph.drained('n', async () => {
    write = disk.write(0, new Uint8Array(1)).then(() => order.push('write'))
    await new Promise((resolve) => setTimeout(resolve, 5))
    order.push('section')
  })
  await write
  expect(order).toEqual(['section', 'write'])
  await graph.close()
})
