import { expect, test } from 'vitest'
import { Graph } from '../src/index.ts'
import { cowish, cowishImage, ram, raw, Storage } from './drivers.ts'

function setUp() {
  const storage = new Storage()
  storage.disks.set('base', new Uint8Array(64).fill(7))
  storage.disks.set('top', cowishImage(64, 'ram:base', 'raw'))
  storage.disks.set('alone', cowishImage(64))
  const graph = new Graph({ drivers: [ram(storage), cowish, raw], references: 'allow' })
  return { storage, graph }
}

test('options of the file beside a file name reach the file', async () => {
  const { graph } = setUp()
  const disk = await graph.open('ram:base', { format: 'raw', file: { nodeName: 'store', readOnly: true } })
  expect(graph.find('store')?.readOnly).toBe(true)
  expect(disk.readOnly).toBe(true)
  await expect(disk.write(0, new Uint8Array(1))).rejects.toMatchObject({ code: 'EPERM' })
  await graph.close()
})

test('options of the file reach the file also when the format is probed', async () => {
  const { graph } = setUp()
  await graph.open('ram:top', { file: { nodeName: 'store', readOnly: true } })
  expect(graph.find('store')?.readOnly).toBe(true)
  await graph.close()
})

test('an option of the file that its driver does not know is refused by its name', async () => {
  const { graph } = setUp()
  await expect(graph.open('ram:base', { format: 'raw', file: { bogus: 1 } })).rejects.toThrow("option 'bogus'")
  expect([...graph.nodes]).toEqual([])
})

test('a file name and another name in the options of the file are refused', async () => {
  const { graph } = setUp()
  await expect(graph.open('ram:base', { format: 'raw', file: { disk: 'top' } })).rejects.toThrow(
    "Can't specify 'file' and 'disk' options at the same time",
  )
  await expect(graph.open('ram:base', { format: 'raw', file: 'node' })).rejects.toThrow('give one of the two')
})

test('options of a backing file whose name the image tells reach it, and its own file', async () => {
  const { graph } = setUp()
  const disk = await graph.open('ram:top', { backing: { nodeName: 'b', file: { nodeName: 'bf', pace: 1 } } })
  expect(disk.node.backing?.node.name).toBe('b')
  expect(graph.find('bf')?.options.pace).toBe(1)
  await graph.close()
})

test('a driver given for the backing file stands before the recorded format', async () => {
  const { graph } = setUp()
  const disk = await graph.open('ram:top', { format: 'cowish', backing: { driver: 'raw', nodeName: 'b' } })
  expect(graph.find('b')?.driver.name).toBe('raw')
  await disk.close()
  await expect(graph.open('ram:top', { format: 'cowish', backing: { driver: 'vmdk' } })).rejects.toThrow('vmdk')
  expect([...graph.nodes]).toEqual([])
})

test('options of a backing file that the image does not have are refused', async () => {
  const { graph } = setUp()
  await expect(graph.open('ram:alone', { format: 'cowish', backing: { readOnly: true } })).rejects.toThrow(
    'Must specify either driver or file',
  )
  expect([...graph.nodes]).toEqual([])
})

test('a probed format passes discard and cache on to its file as a given one does', async () => {
  const { graph } = setUp()
  const options = { discard: 'unmap', cache: { direct: false, noFlush: true } }
  for (const format of [undefined, 'raw']) {
    const disk = await graph.open('ram:base', { ...options, ...(format === undefined ? {} : { format }) })
    const storage = disk.node.children.get('file')?.node
    expect(disk.node.discardMode).toBe('unmap')
    expect(storage?.discardMode).toBe('unmap')
    expect(storage?.cache.noFlush).toBe(true)
    await disk.close()
  }
})
