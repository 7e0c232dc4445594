/** What `console.log` and `JSON.stringify` show of what a user holds: little, and no secret. */
import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import { type DriverDescriptor, type Extent, Graph, type GraphEdge, Permission, Root } from '../src/index.ts'
import { FakeDrivers } from './fake-drivers.ts'

const secret = 'hunter2'

const web: DriverDescriptor = {
  name: 'web',
  kind: 'protocol',
  description: 'a file behind a URL with a password in it',
  options: {
    url: { type: 'string', required: true, description: 'URL' },
    password: { type: 'string', confidential: true, description: 'password' },
  },
  formatFilename: ({ url }) => String(url),
  open: async ({ readOnly }) => {
    if (!readOnly) throw new Error('read-only')
    return { size: 512, read: async (_offset, buf) => void buf.fill(0) }
  },
}

async function setUp() {
  const fakes = new FakeDrivers()
  const graph = fakes.graph([web], { secrets: { key: secret } })
  const file = {
    driver: 'web',
    nodeName: 'store',
    url: `http://me:${secret}@host/a?key=${secret}&${secret}#x`,
    password: secret,
    readOnly: true,
  }
  const disk = await graph.addUnchecked({ driver: 'filter', nodeName: 'f', readOnly: true, file })
  return { graph, disk }
}

describe('JSON', () => {
  test('of a disk tells its file, node, driver and size', async () => {
    const { graph, disk } = await setUp()
    const told = { node: 'f', driver: 'filter', size: 512, readOnly: true, closed: false }
    const json = JSON.parse(JSON.stringify(disk)) as Record<string, unknown>
    expect(json).toEqual({ ...told, filename: expect.stringContaining('http://host/a') })
    await disk.close()
    expect(JSON.parse(JSON.stringify(disk))).toMatchObject({ closed: true, size: 0 })
    await graph.close()
  })

  test('of a node tells its children by the names of their nodes', async () => {
    const { graph } = await setUp()
    expect(JSON.parse(JSON.stringify(graph.find('f')))).toMatchObject({ name: 'f', children: { file: 'store' } })
    expect(JSON.parse(JSON.stringify(graph.find('store')))).toEqual({
      name: 'store',
      driver: 'web',
      filename: 'http://host/a?key=…&…#x',
      size: 512,
      readOnly: true,
      children: {},
    })
    await graph.close()
  })

  test('of an edge says what its parent does and shares in words', async () => {
    const { graph, disk } = await setUp()
    expect(JSON.parse(JSON.stringify(graph.find('f')?.children.get('file')))).toEqual({
      name: 'file',
      role: 'filtered',
      parent: 'f',
      node: 'store',
      permissions: 'consistent read',
      shared: 'consistent read, write, write unchanged, resize',
    })
    expect(JSON.parse(JSON.stringify(disk.edge)).parent).toContain('http://host/a')
    await graph.close()
  })

  test('of a graph tells its nodes, and its users as messages name them', async () => {
    const { graph } = await setUp()
    const { nodes, roots } = JSON.parse(JSON.stringify(graph))
    expect(nodes.map(({ name }: { name: string }) => name)).toEqual(['store', 'f'])
    expect(roots).toEqual([expect.stringMatching(/^disk '.*http:\/\/host\/a/)])
    await graph.close()
  })

  test('of an extent names its node and file', async () => {
    const fakes = new FakeDrivers()
    const graph = fakes.graph()
    const stored = { data: true, zero: false, allocated: true }
    fakes.extra.set('o', {
      blockStatus: async (offset, length) => {
        if (offset >= 2048) return { length, data: false, zero: true, allocated: false }
        return {
          ...stored,
          length: 1024,
          offset: offset + 512,
          file: graph.find('o')?.children.get('file') as GraphEdge,
        }
      },
    })
    const disk = await graph.addUnchecked({ driver: 'overlay', nodeName: 'o', file: { driver: 'disk', nodeName: 'a' } })
    const extents: Extent[] = []
    for await (const extent of disk.extents()) extents.push(extent)
    const common = { depth: 0, node: 'o', compressed: false }
    expect(JSON.parse(JSON.stringify(extents))).toEqual([
      { ...common, offset: 0, length: 2048, data: true, zero: false, present: true, hostOffset: 512, file: 'a' },
      { ...common, offset: 2048, length: 2048, data: false, zero: true, present: false },
    ])
    for (const extent of extents) {
      expect(inspect(extent)).toMatch(/^Extent \{[\s\S]*node: 'o'/)
    }
    await graph.close()
  })
})

test('what console.log shows begins with the kind, fits on a few lines, and is what JSON tells', async () => {
  const { graph, disk } = await setUp()
  const root = await graph.attachRoot(
    new Root(graph.find('f') as never, { description: 'a job', permissions: { permissions: 0, shared: 15 } }),
    { permissions: { permissions: 0, shared: Permission.All } },
  )
  const shown: readonly (readonly [string, unknown, string])[] = [
    ['Disk', disk, "node: 'f'"],
    ['Node', graph.find('store'), "filename: 'http://host/a?key=…"],
    ['Edge', disk.edge, "role: 'storage'"],
    ['Graph', graph, "Node { name: 'f'"],
    ['Root', root, "description: 'a job'"],
  ]
  for (const [kind, value, part] of shown) {
    const text = inspect(value)
    expect(text.startsWith(`${kind} {`), text).toBe(true)
    expect(text.replaceAll(/\s+/g, ' ')).toContain(part)
    expect(text.split('\n').length, text).toBeLessThan(30)
  }
  await graph.close()
})

test('no secret is shown, whatever is printed', async () => {
  const { graph, disk } = await setUp()
  for (const value of [graph, graph.objects, disk, disk.edge, ...graph.nodes, { deep: { disk } }]) {
    expect(inspect(value, { depth: 10 })).not.toContain(secret)
    expect(JSON.stringify(value)).not.toContain(secret)
  }
  await graph.close()
})

test('an empty graph is shown as such', () => {
  expect(inspect(new Graph({ drivers: [] }))).toBe('Graph { nodes: [], roots: [] }')
})
