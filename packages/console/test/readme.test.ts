import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ConsoleServer } from '@diskgraph/console'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { expect, it, vi } from 'vitest'
import { buildPage } from './built-page.ts'
import { FakeMonitor } from './monitor.ts'

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
  const page = await buildPage()
  const folder = await mkdtemp(join(tmpdir(), 'diskgraph-console-'))
  const socketPath = join(folder, 'qmp.sock')
  const monitor = new FakeMonitor({})
  const daemon = createServer((socket) => socket.pipe(monitor.connect()).pipe(socket))
  await new Promise<void>((resolve) => daemon.listen(socketPath, resolve))
  const log = vi.spyOn(console, 'log').mockImplementation(() => undefined)
  const { start } = ConsoleServer
  const elsewhere = { port: 0, page }
  vi.spyOn(ConsoleServer, 'start').mockImplementation((settings) => start({ ...settings, ...elsewhere }))

  const server = await ConsoleServer.start({ connect: () => connect(socketPath) })
  console.log(`open ${server.url}`)

  expect(log.mock.calls).toEqual([[expect.stringMatching(/^open http:\/\/127\.0\.0\.1:\d+\/#[\w-]{22}$/)]])
  log.mockRestore()
  await server.close()
  daemon.close()
  await rm(folder, { recursive: true })
  await rm(page, { recursive: true })
})
