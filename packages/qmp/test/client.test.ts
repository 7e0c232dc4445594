/** The client, against this monitor and against the real daemon. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { duplexPair } from 'node:stream'
import { Graph } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import { nullCo } from '@diskgraph/driver-null'
import { peer, TempFolder } from '@diskgraph/driver-testkit'
import { createMonitor, type Listener, listen, System, serveClient } from '@diskgraph/qmp'
import { QmpClient, QmpError } from '@diskgraph/qmp/client'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

let folder: TempFolder

beforeEach(async () => {
  folder = await TempFolder.make()
})

afterEach(() => folder.remove())

async function steer(client: QmpClient): Promise<void> {
  expect(client.greeting.version.qemu).toEqual({ major: 7, minor: 2, micro: 22 })
  await client.execute('blockdev-add', { driver: 'null-co', 'node-name': 'source', size: 2 ** 20 })
  await client.execute('blockdev-add', { driver: 'null-co', 'node-name': 'target', size: 2 ** 20 })
  const ready = client.next('BLOCK_JOB_READY', ({ device }) => device === 'job')
  await client.execute('blockdev-mirror', { 'job-id': 'job', device: 'source', target: 'target', sync: 'full' })
  expect((await ready).type).toBe('mirror')
  const [job] = await client.execute('query-jobs')
  expect(job).toMatchObject({ id: 'job', type: 'mirror', status: 'ready' })
  const done = client.next('BLOCK_JOB_COMPLETED')
  await client.execute('block-job-complete', { device: 'job' })
  expect(await done).toMatchObject({ device: 'job', type: 'mirror' })
  const failure = await client.execute('block-job-pause', { device: 'job' }).catch((error) => error)
  expect(failure).toBeInstanceOf(QmpError)
  expect(failure).toMatchObject({ errorClass: 'DeviceNotActive', message: "Block job 'job' not found" })
}

describe('a client of this monitor', () => {
  let graph: Graph
  let system: System
  let listener: Listener
  const clients: Promise<void>[] = []
  const end = new AbortController()

  async function start(path: string): Promise<void> {
    graph = new Graph({ drivers: [memory, nullCo] })
    system = new System({ graph })
    const monitor = createMonitor(system)
    listener = await listen({ path }, (socket) => clients.push(serveClient(monitor, socket, socket, {}, end.signal)))
  }

  async function stop(): Promise<void> {
    await listener.close()
    await system.close()
    await graph.close()
  }

  it('steers jobs', async () => {
    const path = folder.file('qmp.sock')
    await start(path)
    using client = await QmpClient.connect({ connect: { path } })
    await steer(client)
    client.close()
    await stop()
  })

  it('stops waiting when its signal is aborted, and goes on after that', async () => {
    const path = folder.file('qmp.sock')
    await start(path)
    using client = await QmpClient.connect({ connect: { path } })
    const signal = AbortSignal.abort()
    await expect(client.execute('query-jobs', {}, { signal })).rejects.toMatchObject({ code: 'ECANCELED' })
    expect(await client.execute('query-jobs')).toEqual([])
    client.close()
    await stop()
  })

  it('waits for no event of a connection that has ended', async () => {
    const path = folder.file('qmp.sock')
    await start(path)
    using client = await QmpClient.connect({ connect: { path } })
    const pending = client.next('STOP')
    client.close()
    await expect(pending).rejects.toMatchObject({ code: 'ECONNRESET' })
    await expect(client.next('STOP')).rejects.toMatchObject({ code: 'ECONNRESET' })
    await stop()
  })

  it('says that the connection is lost, and makes it anew', async () => {
    let [near, far] = duplexPair()
    await using own = new Graph({ drivers: [memory] })
    const monitor = createMonitor(new System({ graph: own }))
    let wake: () => void = () => undefined
    const connect = async () => {
      ;[near, far] = duplexPair()
      void serveClient(monitor, far, far)
      return near
    }
    const timeout = (_: number, later: () => void): (() => void) => {
      wake = later
      return () => undefined
    }
    const clock = { ...own.clock, timeout }
    using client = await QmpClient.connect({ connect, reconnect: 1000, clock })
    expect(await client.execute('query-jobs')).toEqual([])
    near.destroy()
    const lost = await client.execute('query-version').catch((error) => error)
    expect(lost).toMatchObject({ code: 'ECONNRESET' })
    const later = client.execute('query-jobs')
    wake()
    expect(await later).toEqual([])
    monitor.close()
  })

  it('refuses what does not greet', async () => {
    const [near, far] = duplexPair()
    far.write('{"hello": 1}\n')
    const connecting = QmpClient.connect({ connect: async () => near })
    await expect(connecting).rejects.toMatchObject({ code: 'EINVAL', message: /no QMP monitor/ })
  })
})

peer('qemu-storage-daemon', { describe, it }).describe('a client of the real daemon', () => {
  let daemon: ChildProcess

  afterEach(() => {
    daemon.kill()
  })

  it('steers jobs', async () => {
    const path = folder.file('qmp.sock')
    const words = ['--chardev', `socket,id=c,path=${path},server=on,wait=off`, '--monitor', 'c']
    daemon = spawn('qemu-storage-daemon', [...words, '--pidfile', folder.file('pid')])
    const ended = once(daemon, 'exit')
    using client = await connectWhenThere(path)
    await steer(client)
    await client.execute('quit')
    await ended
  })
})

/** Its socket is there some time after its start. */
async function connectWhenThere(path: string): Promise<QmpClient> {
  for (;;) {
    const client = await QmpClient.connect({ connect: { path } }).catch(() => undefined)
    if (client !== undefined) return client
    await new Promise((resolve) => setImmediate(resolve))
  }
}
