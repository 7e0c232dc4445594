/** Handles used twice, late, or beside each other: nothing of others may be lost by it. */
import { expect, test } from 'vitest'
import { RangeLock } from '../src/driver.ts'
import { type DriverDescriptor, Graph } from '../src/index.ts'
import { pass, ram, raw, Storage } from './drivers.ts'

const list: DriverDescriptor = {
  name: 'several',
  kind: 'filter',
  description: 'shows the first of a list',
  options: { children: { type: 'children', role: 'replica', description: 'nodes' } },
  open: async ({ children }) => {
    const first = children.list('children')[0]
    return { size: first?.size ?? 0, read: (offset, buf) => first?.read(offset, buf) ?? Promise.resolve() }
  },
}

function setUp() {
  const storage = new Storage()
  for (const name of ['a', 'b', 'c', 'd']) storage.disks.set(name, new Uint8Array(4096))
  const graph = new Graph({ drivers: [ram(storage), pass, raw, list] })
  const node = (name: string, more = {}) => graph.addNode({ driver: 'ram', disk: name, nodeName: name, ...more })
  return { storage, graph, node }
}

test('the edge of a disk that is closed cannot be moved, and leaves nothing behind', async () => {
  const { graph, node } = setUp()
  await node('a')
  await node('b')
  const disk = await graph.attach('a')
  await disk.close()
  await expect(graph.change((change) => change.move(disk.edge, 'b'))).rejects.toMatchObject({ code: 'EINVAL' })
  expect(graph.find('a')?.parents.size).toBe(0)
  await graph.remove('a')
  await graph.close()
  expect([...graph.nodes]).toEqual([])
})

test('a notifier or bitmap that is taken away twice takes no other one away', async () => {
  const { graph, node } = setUp()
  const opened = await node('a')
  const disk = await graph.attach('a')
  let heard = 0
  const hear = (): void => {
    heard++
  }
  const stop = opened.addWriteNotifier(hear)
  opened.addWriteNotifier(hear)
  stop()
  stop()
  await disk.write(0, new Uint8Array(8))
  expect(heard).toBe(1)
  const one = opened.addDirtyBitmap(512, 'one')
  opened.addDirtyBitmap(512, 'two')
  opened.removeDirtyBitmap(one)
  opened.removeDirtyBitmap(one)
  expect(opened.dirtyBitmaps.map(({ name }) => name)).toEqual(['two'])
  await graph.close()
})

test('a range that is released twice releases nobody else', async () => {
  const lock = new RangeLock()
  const first = await lock.acquire(0, 10, true)
  lock.release(first)
  const second = await lock.acquire(0, 10, true)
  lock.release(first)
  const third = lock.acquire(0, 10, true)
  expect(third).toBeInstanceOf(Promise)
  lock.release(second)
  await third
})

test('force-share needs a read-only node, at opening and at reopening', async () => {
  const { graph, node } = setUp()
  await expect(node('a', { forceShare: true })).rejects.toThrow('force-share=on can only be used with read-only images')
  await node('a', { forceShare: true, readOnly: true })
  await expect(graph.reopen('a', { readOnly: false })).rejects.toThrow('force-share=on')
  expect(graph.find('a')?.readOnly).toBe(true)
  await graph.close()
})

test('children that are added to a list at once in one change all get a place', async () => {
  const { graph, node } = setUp()
  for (const name of ['a', 'b', 'c', 'd']) await node(name)
  await graph.addNode({ driver: 'several', nodeName: 's', children: ['a'] })
  const names = await graph.change((change) =>
    Promise.all(['b', 'c', 'd'].map((name) => change.addChild('s', 'children', name))),
  )
  expect(names).toEqual(['children.1', 'children.2', 'children.3'])
  const children = [...(graph.find('s')?.children ?? [])].map(([name, edge]) => `${name}=${edge.node.name}`)
  expect(children).toEqual(['children.0=a', 'children.1=b', 'children.2=c', 'children.3=d'])
  await graph.close()
})

test.each(['children', 'children.007', 'children.-1', 'children.1.5', 'other.0'])(
  'a child called %s belongs to no list and is refused',
  async (name) => {
    const { graph, node } = setUp()
    await node('a')
    await node('b')
    await graph.addNode({ driver: 'several', nodeName: 's', children: ['a'] })
    await expect(graph.setChild('s', name, 'b')).rejects.toMatchObject({ code: 'EINVAL' })
    expect(graph.find('s')?.children.size).toBe(1)
    await graph.close()
  },
)

test('a node that may not be attached may not become a child of a new node either', async () => {
  const { graph, node } = setUp()
  await node('a')
  const release = graph.block('a', { reason: 'a job', operations: ['attach'] })
  await expect(graph.attach('a')).rejects.toMatchObject({ code: 'EBUSY' })
  await expect(graph.addUnchecked({ driver: 'raw', file: 'a' })).rejects.toMatchObject({ code: 'EBUSY' })
  expect([...graph.nodes].map(({ name }) => name)).toEqual(['a'])
  release()
  await graph.addUnchecked({ driver: 'raw', file: 'a' })
  await graph.close()
})

test('an abort ends a change that waits for requests in flight, and the next change has its turn', async () => {
  const { graph, node } = setUp()
  const opened = await node('a')
  const disk = await graph.attach('a')
  let answer: () => void = () => undefined
  opened.image.read = () =>
    new Promise((resolve) => {
      answer = resolve
    })
  const read = disk.read(0, new Uint8Array(8))
  const controller = new AbortController()
  const truncate = disk.truncate(8192, {}, controller.signal)
  await new Promise((resolve) => setTimeout(resolve, 1))
  controller.abort()
  await expect(truncate).rejects.toMatchObject({ code: 'ECANCELED' })
  await graph.change(async () => undefined)
  expect(disk.size).toBe(4096)
  answer()
  await read
  await graph.close()
})

test('a file and what stands on it become read-only in one change, in whichever order they are named', async () => {
  for (const order of [
    ['f', 'a'],
    ['a', 'f'],
  ]) {
    const { graph, node } = setUp()
    const below = await node('a', { detectZeroes: 'on' })
    below.image.reopen = async () => ({ commit: () => undefined, abort: () => undefined })
    await graph.addNode({ driver: 'pass', nodeName: 'f', file: 'a' })
    const above = graph.find('f')
    // As a format does that writes the last of its metadata when it makes ready.
    if (above !== undefined) {
      above.image.reopen = async () => {
        await above.children.get('file')?.write(0, new Uint8Array(8).fill(1))
        return { commit: () => undefined, abort: () => undefined }
      }
    }
    const disk = await graph.attach('f', { permissions: 3 })
    await graph.change(async (change) => {
      change.setPermissions(disk.edge, { permissions: 1, shared: 15 })
      for (const name of order) await change.reopen(name, { readOnly: true })
    })
    expect(graph.find('a')?.readOnly, order.join()).toBe(true)
    await graph.close()
  }
})
