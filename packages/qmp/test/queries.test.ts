/** What is told of nodes, while jobs and other clients change them. */
import { BlockError, type DriverDescriptor, Graph } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { createMonitor, System } from '@diskgraph/qmp'
import { expect, it } from 'vitest'
import { LocalClient } from './local-client.ts'

/** A disk whose figures take until `answer` is called, and cannot be told when it has been closed. */
function slowDriver(): { driver: DriverDescriptor; asked: Promise<void>; answer: () => void } {
  let answer = (): void => undefined
  let hear = (): void => undefined
  const asked = new Promise<void>((resolve) => {
    hear = resolve
  })
  const held = new Promise<void>((resolve) => {
    answer = resolve
  })
  const driver: DriverDescriptor = {
    name: 'slow',
    kind: 'protocol',
    description: 'answers late',
    options: {},
    open: async () => {
      let closed = false
      return {
        size: 512,
        read: async () => undefined,
        info: async () => {
          hear()
          await held
          if (closed) throw new BlockError('EIO', 'Bad file descriptor')
          return {}
        },
        close: async () => {
          closed = true
        },
      }
    },
  }
  return { driver, asked, answer: () => answer() }
}

async function setUp(...drivers: DriverDescriptor[]) {
  const graph = new Graph({ drivers: [memory, qcow2, ...drivers] })
  const monitor = createMonitor(new System({ graph }))
  const [client, other] = [new LocalClient(monitor), new LocalClient(monitor)]
  for (const one of [client, other]) await one.execute('qmp_capabilities')
  const end = async (): Promise<void> => {
    monitor.close()
    await graph.close()
  }
  return { graph, client, other, [Symbol.asyncDispose]: end }
}

const names = (answer: unknown): string[] => (answer as { 'node-name': string }[]).map((one) => one['node-name'])

it('query-named-block-nodes leaves out a node that another client removes meanwhile', async () => {
  const { driver, asked, answer } = slowDriver()
  await using made = await setUp(driver)
  const { client, other } = made
  await client.execute('blockdev-add', { driver: 'memory', size: 512, 'node-name': 'stays' })
  await client.execute('blockdev-add', { driver: 'slow', 'node-name': 'goes', 'read-only': true })
  const nodes = client.execute('query-named-block-nodes')
  await asked
  expect(await other.execute('blockdev-del', { 'node-name': 'goes' })).toEqual({})
  answer()
  expect(names(await nodes)).toEqual(['stays'])
})

it('a layer whose image above was committed away stands where it stood', async () => {
  await using made = await setUp()
  const { graph, client } = made
  const image = (name: string, more: object = {}): object => ({
    driver: 'qcow2',
    'node-name': name,
    file: { driver: 'memory', name },
    ...more,
  })
  for (const name of ['base', 'mid', 'top']) {
    await graph.createUnchecked({ driver: 'qcow2', size: 65536, file: { driver: 'memory', name } })
  }
  await client.execute('blockdev-add', image('top', { backing: image('mid', { backing: image('base') }) }))
  const shown = async (): Promise<string[]> =>
    names(await client.execute('query-named-block-nodes')).filter((name) => !name.startsWith('#'))
  expect(await shown()).toEqual(['base', 'mid', 'top'])
  const ended = new Promise<void>((resolve) => {
    graph.onEvent(({ event, data }) => {
      if (event === 'JOB_STATUS_CHANGE' && data?.status === 'null') resolve()
    })
  })
  const commit = { 'job-id': 'j', device: 'top', 'top-node': 'mid', 'base-node': 'base' }
  expect(await client.execute('block-commit', commit)).toEqual({})
  await ended
  expect(await shown()).toEqual(['base', 'top'])
})
