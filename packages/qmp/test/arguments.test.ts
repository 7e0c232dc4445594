/** What a program without types may hand over, and what console.log shows. */
import { once } from 'node:events'
import { duplexPair } from 'node:stream'
import { inspect } from 'node:util'
import { Graph } from '@diskgraph/core'
import { DeviceTable } from '@diskgraph/devices'
import { memory } from '@diskgraph/driver-memory'
import { startStream } from '@diskgraph/jobs'
import { connectTo, createMonitor, listen, System, serveClient } from '@diskgraph/qmp'
import { QmpClient } from '@diskgraph/qmp/client'
import { ThrottleGroup } from '@diskgraph/throttle'
import { describe, expect, it } from 'vitest'

const graph = new Graph({ drivers: [memory] })
const devices = new DeviceTable(graph)
// biome-ignore lint/suspicious/noExplicitAny: what a program without types may do
const any = (value: unknown): any => value
const never = (): Promise<never> => Promise.reject(new Error('nothing is to be connected to'))
const ignore = (): void => undefined

const calls: Readonly<Record<string, readonly [call: () => unknown, message: string]>> = {
  'no settings of a system': [() => new System(any(undefined)), 'new System takes an object of options, not undefined'],
  'a misspelt setting of a system': [
    () => new System(any({ graph, device: devices })),
    "new System has no option 'device' did you mean 'devices'?",
  ],
  'a graph that is none': [() => new System(any({ graph: {} })), "the option 'graph' of new System is a graph"],
  'the devices of a system': [
    () => new System({ graph, devices: any([]) }),
    "'devices' of new System is a DeviceTable",
  ],
  'a system of a monitor': [() => createMonitor(any(graph)), "'system' of createMonitor is a System"],
  'a client of nothing': [() => QmpClient.connect(any({})), "needs the option 'connect', an address, or a function"],
  'a client of a path': [() => QmpClient.connect(any('/run/qmp')), 'takes an object of options, not a value of type'],
  'a misspelt setting of a client': [
    () => QmpClient.connect(any({ connect: never, reconect: 1 })),
    "QmpClient.connect has no option 'reconect' did you mean 'reconnect'?",
  ],
  'an address of a client': [() => QmpClient.connect({ connect: any({ url: 'x' }) }), 'needs an address, { path }'],
  'a port of a client': [
    () => QmpClient.connect({ connect: { host: 'localhost', port: 70000 } }),
    "the option 'port' of the address of QmpClient.connect is a whole number from 0 to 65535, not 70000",
  ],
  'an address to listen at': [() => listen(any('/run/qmp'), ignore), 'listen needs an address, { path }'],
  'what hears of clients': [() => listen({ path: '/x' }, any(5)), "'onConnection' of listen is a function, not 5"],
  'a misspelt setting of a listener': [
    () => listen({ path: '/x' }, ignore, any({ connection: 1 })),
    "listen has no option 'connection' did you mean 'connections'?",
  ],
  'an address to connect to': [
    () => connectTo(any({ path: 5 })),
    "'path' of the address of connectTo is a text, not 5",
  ],
  'devices without a graph': [() => new DeviceTable(any(undefined)), "new DeviceTable needs the option 'graph'"],
  'a misspelt setting of a device': [
    () => devices.add(any({ id: 'd', writeCach: false })),
    "DeviceTable.add has no option 'writeCach' did you mean 'writeCache'?",
  ],
  'a model without a name': [
    async () => (await devices.add()).attach(any({ removable: true }), 'q'),
    "the model of a device needs the option 'name', a text",
  ],
  'limits that are none': [
    () => new ThrottleGroup({ clock: graph.clock, limits: any({ bps: 5 }) }),
    "Invalid parameter 'limits.bps'",
  ],
  'a misspelt setting of a group': [
    () => new ThrottleGroup(any({ clock: graph.clock, limit: {} })),
    "new ThrottleGroup has no option 'limit' did you mean 'limits'?",
  ],
  'a group without a clock': [() => new ThrottleGroup(any({})), "new ThrottleGroup needs the option 'clock', a clock"],
}

describe('an error says what is due in place of', () => {
  for (const [what, [call, message]] of Object.entries(calls)) {
    it(what, async () => {
      const error = await (async () => call())().catch((reason: unknown) => reason)
      expect(error).toMatchObject({ code: 'EINVAL' })
      expect(`${(error as Error).message} ${(error as { hint?: string }).hint}`).toContain(message)
    })
  }
})

it('console.log of a system, its parts and a client is a short text without secrets', async () => {
  await using own = new Graph({ drivers: [memory] })
  await using shown = new System({ graph: own, devices: new DeviceTable(own), name: 'guest' })
  const monitor = createMonitor(shown)
  const node = await own.addNode({ driver: 'memory', size: 65536, nodeName: 'n' })
  await shown.devices?.add({ id: 'd0' }, node)
  const job = await startStream(shown.jobs, { device: 'n', jobId: 'j', autoDismiss: false })
  await job.finished
  const [near, far] = duplexPair()
  void serveClient(monitor, far, far)
  const client = await QmpClient.connect({ connect: async () => near })
  expect(inspect(shown)).toBe("System { name: 'guest', nodes: 1, devices: 1, jobs: 1 }")
  expect(inspect(shown.devices)).toMatch(/^DeviceTable \{.*Device \{.*id: 'd0'.*node: 'n'.*runState: 'running'/s)
  expect(inspect(shown.jobs)).toMatch(/^JobTable \{.*Job \{.*id: 'j'.*status: 'concluded'/s)
  expect(inspect(client)).toBe("QmpClient { version: '7.2.22 diskgraph', waiting: 0, closed: false }")
  for (const value of [shown, shown.devices, shown.jobs, job, client]) expect(inspect(value).length).toBeLessThan(400)
  const closed = once(near, 'close')
  client.close()
  await closed
  monitor.close()
})

it('a monitor that is closed executes nothing, and hangs up on who comes', async () => {
  await using system = new System({ graph })
  const monitor = createMonitor(system)
  monitor.close()
  const message = 'cannot execute query-status: the monitor is closed'
  await expect(monitor.execute('query-status', {})).rejects.toMatchObject({ code: 'ENODEV', message })
  const [near, far] = duplexPair()
  await expect(serveClient(monitor, far, far)).rejects.toMatchObject({ code: 'ENODEV' })
  expect(far.destroyed).toBe(true)
  near.destroy()
})
