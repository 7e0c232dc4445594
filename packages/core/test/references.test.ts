/** Images of several files: what an image names, in any role, by the image's own protocol, and through the gate. */
import { expect, test } from 'vitest'
import type { ChildHandle, OpenImage } from '../src/driver.ts'
import { type DriverDescriptor, Graph, type GraphSettings } from '../src/index.ts'
import { ram, Storage } from './drivers.ts'

/** A protocol whose names are URLs, over the disks of a {@link Storage}: `web://host/folder/name`. */
function web(storage: Storage): DriverDescriptor {
  const memory = ram(storage)
  return {
    ...memory,
    name: 'web',
    prefixes: ['web'],
    parseFilename: (filename) => ({ disk: new URL(filename.replace('web:', 'http:')).pathname }),
    formatFilename: (options) => `web://host${options.disk}`,
  }
}

/** A format whose file is a list of names: each is an extent of 512 bytes, one behind the other. */
const flat: DriverDescriptor = {
  name: 'flat',
  kind: 'format',
  description: 'a disk in several files',
  options: {
    file: { type: 'child', role: 'metadata', required: true, description: 'the list of names' },
    extents: { type: 'children', role: 'data', description: 'the extents' },
  },
  async open({ children, reference }): Promise<OpenImage> {
    const file = children.require('file')
    const text = new Uint8Array(file.size)
    await file.read(0, text)
    const names = new TextDecoder()
      .decode(text)
      .split('\n')
      .filter((name) => name !== '')
    for (const [i, filename] of names.entries()) await reference(`extents.${i}`, { filename, format: 'raw' })
    const at = (offset: number): ChildHandle => children.require(`extents.${Math.floor(offset / 512)}`)
    return {
      size: 512 * names.length,
      limits: { maxTransfer: 512, alignment: 512 },
      read: (offset, buf, flags, signal) => at(offset).read(0, buf, flags, signal),
      write: (offset, buf, flags, signal) => at(offset).write(0, buf, flags, signal),
    }
  },
}

/** Shows its file as it is; what its option says must stand in names. */
const lens: DriverDescriptor = {
  name: 'lens',
  kind: 'filter',
  description: 'a filter',
  options: {
    file: { type: 'child', role: 'filtered', required: true, description: 'the file' },
    strength: { type: 'integer', strong: true, description: 'an option that changes the content' },
  },
  async open({ children }): Promise<OpenImage> {
    const file = children.require('file')
    return {
      size: file.size,
      limits: file.limits,
      read: (offset, buf, flags, signal) => file.read(offset, buf, flags, signal),
    }
  },
}

function setUp(names: readonly string[], settings: Partial<GraphSettings> = {}) {
  const storage = new Storage()
  storage.disks.set('/in/image', new TextEncoder().encode(names.join('\n')))
  for (const name of ['/in/e0', '/in/e1', '/secret', '/in/sub/e2', '/in/a:b']) {
    storage.disks.set(name, new Uint8Array(512).fill(name.length))
  }
  const graph = new Graph({ drivers: [web(storage), flat, lens], ...settings })
  const open = (options = {}) => graph.open('web://host/in/image', { format: 'flat', ...options })
  return { storage, graph, open }
}

test('a name inside an image is relative to the file of the image, whatever stands between', async () => {
  const { graph } = setUp(['e0'])
  const file = { driver: 'lens', file: { filename: 'web://host/in/image' }, strength: 1 }
  const disk = await graph.addUnchecked({ driver: 'flat', file })
  expect(disk.filename).toMatch(/^json:/)
  expect(disk.node.children.get('extents.0')?.node.filename).toBe('web://host/in/e0')
  await graph.close()
})

test('extents open by the protocol of the image, writable as it is, and are told apart by their places', async () => {
  const { storage, graph, open } = setUp(['e0', 'e1', 'sub/e2'])
  const disk = await open()
  expect([...disk.node.children].map(([name, edge]) => [name, edge.role, edge.node.driver.name])).toEqual([
    ['file', 'metadata', 'web'],
    ['extents.0', 'data', 'web'],
    ['extents.1', 'data', 'web'],
    ['extents.2', 'data', 'web'],
  ])
  await disk.write(512, new Uint8Array(1024).fill(9))
  expect(storage.disks.get('/in/e0')?.[0]).toBe('/in/e0'.length)
  expect(storage.disks.get('/in/e1')?.[0]).toBe(9)
  expect(storage.disks.get('/in/sub/e2')?.[511]).toBe(9)
  await graph.close()
  expect(storage.log.filter((line) => line.startsWith('close'))).toHaveLength(4)
})

test('extents of a read-only image are read-only', async () => {
  const { graph, open } = setUp(['e0'])
  const disk = await open({ readOnly: true })
  expect(disk.node.children.get('extents.0')?.node.readOnly).toBe(true)
  await graph.close()
})

test.each([
  '../secret',
  '/secret',
  'web://host/secret',
  'http://elsewhere/e0',
  'json:{}',
  '%2e%2e/secret',
  '..\\secret',
])('an extent called %s is refused by the gate, and nothing stays open', async (name) => {
  const { storage, graph, open } = setUp(['e0', name])
  await expect(open()).rejects.toMatchObject({ code: 'EACCES' })
  expect([...graph.nodes]).toEqual([])
  expect(storage.log.filter((line) => line.startsWith('close'))).toHaveLength(2)
})

test('where references are allowed the name of an extent is literal all the same: it stays on the host of the image', async () => {
  const { graph, open } = setUp(['a:b', '/secret'], { references: 'allow' })
  const disk = await open()
  const buf = new Uint8Array(512)
  await disk.read(0, buf)
  expect(buf[0]).toBe('/in/a:b'.length)
  await disk.read(512, buf)
  expect(buf[0]).toBe('/secret'.length)
  expect(disk.node.children.get('extents.1')?.node.filename).toBe('web://host/secret')
  await graph.close()
})

test('extents that the definition gives are taken instead', async () => {
  const { graph, open } = setUp(['e0'])
  const disk = await open({ extents: [{ driver: 'web', disk: '/secret' }] })
  const buf = new Uint8Array(512)
  await disk.read(0, buf)
  expect(buf[0]).toBe('/secret'.length)
  await graph.close()
})
