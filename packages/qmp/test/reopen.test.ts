/** `blockdev-reopen` with whole definitions, the options of children among them. */
import { Graph } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import { nullCo } from '@diskgraph/driver-null'
import { raw } from '@diskgraph/driver-raw'
import { createMonitor, System } from '@diskgraph/qmp'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { LocalClient } from './local-client.ts'

let graph: Graph
let close: () => Promise<void>
let client: LocalClient

beforeEach(async () => {
  graph = new Graph({ drivers: [memory, nullCo, raw] })
  const system = new System({ graph, name: 'guest' })
  const monitor = createMonitor(system)
  close = async () => {
    await system.close()
    monitor.close()
    await graph.close()
  }
  client = new LocalClient(monitor)
  await client.execute('qmp_capabilities')
})

afterEach(() => close())

const file = { driver: 'memory', size: 65536 }
const top = { driver: 'raw', 'node-name': 'top' }

const reopen = (options: object) => client.execute('blockdev-reopen', { options: [options] })

it('takes the options of a child that was opened with the node', async () => {
  await client.execute('blockdev-add', { ...top, file, 'read-only': true })
  expect(await reopen({ ...top, file, 'read-only': false })).toEqual({})
  expect(graph.find('top')?.readOnly).toBe(false)
})

it('a child that was opened with the node has its mode, but for what its own options say', async () => {
  await client.execute('blockdev-add', { ...top, file, 'read-only': true })
  const child = () => graph.find('top')?.children.get('file')?.node
  expect(child()?.readOnly).toBe(true)
  expect(await reopen({ ...top, file, 'read-only': false })).toEqual({})
  expect(child()?.readOnly).toBe(false)
  expect(await reopen({ ...top, file: { ...file, 'read-only': false }, 'read-only': true })).toEqual({})
  expect(child()?.readOnly).toBe(false)
})

it('refuses other options of such a child, and changes nothing', async () => {
  await client.execute('blockdev-add', { ...top, file, 'read-only': true })
  expect(await reopen({ ...top, file: { ...file, size: 512 }, 'read-only': false })).toMatchObject({
    desc: "Cannot change the option 'size'",
  })
  expect(await reopen({ ...top, file: { driver: 'null-co' }, 'read-only': false })).toMatchObject({
    desc: "Cannot change the option 'driver'",
  })
  expect(graph.find('top')?.readOnly).toBe(true)
})

it('refuses options of a child that has a name of its own', async () => {
  await client.execute('blockdev-add', { ...file, 'node-name': 'below' })
  await client.execute('blockdev-add', { ...top, file: 'below' })
  expect(await reopen({ ...top, file })).toMatchObject({
    desc: "Cannot change the option 'file': reopen takes the name of a node",
  })
})
