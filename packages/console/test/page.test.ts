/** The page in a real browser, against a monitor that remembers what it was told; and pages that mean harm. */
import { rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { peer } from '@diskgraph/driver-testkit'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { ConsoleServer } from '../src/index.ts'
import { buildPage } from './built-page.ts'
import { FakeMonitor } from './monitor.ts'

const browserPeer = peer('chromium', { describe, it })

const node = (name: string, drv: string, ro: boolean, size: number) => ({
  'node-name': name,
  drv,
  ro,
  file: `/disks/${name}.${drv}`,
  image: { 'virtual-size': size },
})

let edges: object[] = []
/** Users beside the drive, and exports. */
let others: object[] = []
let exports: object[] = []

/** A monitor over a qcow2 overlay with a job. */
function monitorOf(job: { status: string; done: number }): FakeMonitor {
  return new FakeMonitor({
    'query-status': () => ({ status: 'running', running: true }),
    'x-debug-query-block-graph': () => ({
      nodes: [
        { id: 1, type: 'block-backend', name: 'drive0' },
        { id: 2, type: 'block-driver', name: 'top' },
        { id: 3, type: 'block-driver', name: 'base' },
        ...others,
      ],
      edges,
    }),
    'query-named-block-nodes': () => [node('top', 'qcow2', false, 2 ** 30), node('base', 'raw', true, 2 ** 30)],
    'query-jobs': () => [
      { id: 'backup0', type: 'backup', status: job.status, 'current-progress': job.done, 'total-progress': 4096 },
    ],
    'query-block-jobs': () => [{ device: 'backup0', speed: 1024 }],
    'query-block-exports': () => exports,
    'query-blockstats': () => [{ device: 'drive0', stats: { rd_bytes: 0, wr_bytes: 0 } }],
    'job-pause': () => {
      job.status = 'paused'
      return {}
    },
    'blockdev-snapshot-sync': (args) =>
      args['snapshot-file'] === '/x' ? "Could not create '/x': No such file or directory" : {},
    'drive-backup': () => ({}),
  })
}

browserPeer.describe('the console in Chromium', () => {
  let folder: string
  let browser: Browser
  let server: ConsoleServer
  let monitor: FakeMonitor
  let page: Page
  const failures: string[] = []

  beforeAll(async () => {
    folder = await buildPage()
    const args = ['--no-sandbox', '--disable-gpu', '--disable-background-networking']
    browser = await chromium.launch({ executablePath: browserPeer.path ?? '', args })
  })
  afterAll(async () => {
    await browser.close()
    await rm(folder, { recursive: true })
  })
  beforeEach(async () => {
    failures.length = 0
    edges = [
      { parent: 1, child: 2, name: 'root', perm: ['write'], 'shared-perm': [] },
      { parent: 2, child: 3, name: 'backing', perm: [], 'shared-perm': [] },
    ]
    others = []
    exports = []
    monitor = monitorOf({ status: 'running', done: 1024 })
    server = await ConsoleServer.start({ connect: () => monitor.connect(), port: 0, page: folder })
    page = await browser.newPage()
    page.on('pageerror', (error) => failures.push(error.message))
    page.on('console', (message) => message.type() === 'error' && failures.push(message.text()))
  })
  afterEach(async () => {
    await page.close()
    await server.close()
  })

  it('draws nodes, users and edges', async () => {
    await page.goto(server.url)
    await page.waitForSelector('.box')
    expect(await page.locator('.box .name').allTextContents()).toEqual(['drive0', 'top', 'base'])
    expect(await page.locator('.box .kind').allTextContents()).toEqual([
      'user',
      'qcow2 · 1 GiB',
      'raw · 1 GiB · read-only',
    ])
    expect(await page.locator('.edge text').allTextContents()).toEqual(['root', 'backing'])
    expect(await page.locator('.edge.writes').count()).toBe(1)
    expect(failures).toEqual([])
  })

  it('names a user by its export where it can be no other, and says whose figures they are', async () => {
    others = [4, 5, 6].map((id) => ({ id, type: 'block-backend', name: '' }))
    const used = (parent: number, child: number) => ({ parent, child, name: 'root', perm: [], 'shared-perm': [] })
    // One export of the base, and of the top one besides an unnamed user.
    edges.push(used(4, 3), used(5, 2), used(6, 2))
    exports = ['top', 'base'].map((name) => ({
      id: `e-${name}`,
      type: 'nbd',
      'node-name': name,
      'shutting-down': false,
    }))
    await page.goto(server.url)
    await page.waitForSelector('.box')
    expect(await page.locator('.box .name').allTextContents()).toEqual([
      'drive0',
      'top',
      'base',
      'e-base',
      'unnamed',
      'unnamed',
    ])
    expect(await page.locator('.box .kind').allTextContents()).toContain('export')
    await page.locator('[aria-label="block-driver top"]').click()
    expect(await page.locator('dt').allTextContents()).not.toContain('read')
  })

  it('takes the token out of the address, and keeps it over a reload', async () => {
    await page.goto(server.url)
    await page.waitForSelector('.box')
    expect(new URL(page.url()).hash).toBe('')
    await page.reload()
    await page.waitForSelector('.box')
  })

  it('shows how far a job is, and pauses it', async () => {
    await page.goto(server.url)
    await page.waitForSelector('.jobs li')
    expect(await page.locator('.jobs li').textContent()).toMatch(/backup0.*running.*25 %.*1 KiB of 4 KiB.*1 KiB\/s/)
    await page.locator('.jobs button', { hasText: 'pause' }).click()
    await page.locator('.status.paused').waitFor()
    expect(monitor.commands.find(({ execute }) => execute === 'job-pause')?.arguments).toEqual({ id: 'backup0' })
  })

  it('starts a job on the chosen node', async () => {
    await page.goto(server.url)
    await page.locator('[aria-label="block-driver top"]').click()
    await page.locator('input[name=target]').fill('/disks/copy.qcow2')
    await page.locator('input[name=speed]').fill('4')
    await page.locator('form:has(select) button').click()
    await expect
      .poll(() => monitor.commands.find(({ execute }) => execute === 'drive-backup')?.arguments)
      .toEqual({
        'job-id': 'backup1',
        device: 'top',
        target: '/disks/copy.qcow2',
        format: 'qcow2',
        sync: 'full',
        speed: 2 ** 22,
      })
  })

  it("shows the monitor's words when a snapshot fails", async () => {
    await page.goto(server.url)
    await page.locator('[aria-label="block-driver top"]').click()
    await page.locator('input[name=snapshot]').fill('/x')
    await page.locator('form:has(input[name=snapshot]) button').click()
    await page.locator('.failure').waitFor()
    expect(await page.locator('.failure').textContent()).toContain("Could not create '/x': No such file or directory")
  })

  it('offers nothing that cannot work on a read-only node below another one', async () => {
    await page.goto(server.url)
    await page.locator('[aria-label="block-driver base"]').click()
    await page.locator('text=Another node stands on it').waitFor()
    expect(await page.locator('form').count()).toBe(0)
  })

  it('offers jobs of a chain only where there is one', async () => {
    const jobs = () => page.locator('select[name=job] option').allTextContents()
    await page.goto(server.url)
    await page.locator('[aria-label="block-driver top"]').click()
    expect(await jobs()).toEqual(['backup', 'mirror', 'commit', 'stream'])
    edges.pop()
    await page.locator('[aria-label="block-driver top"]').click()
    await expect.poll(jobs).toEqual(['backup', 'mirror'])
  })

  it('starts nothing with a speed that is no number, or not above zero', async () => {
    await page.goto(server.url)
    await page.locator('[aria-label="block-driver top"]').click()
    await page.locator('input[name=speed]').fill('-4')
    await page.locator('form:has(select) button').click()
    expect(await page.locator('input[name=speed]:invalid').count()).toBe(1)
    await page.locator('input[name=speed]').fill('')
    await page.locator('input[name=speed]').pressSequentially('fast')
    expect(await page.locator('input[name=speed]').inputValue()).toBe('')
    expect(monitor.commands.filter(({ execute }) => execute === 'drive-backup')).toEqual([])
  })

  it('goes on with the overlay when a snapshot has been taken', async () => {
    await page.goto(server.url)
    await page.locator('[aria-label="block-driver top"]').click()
    await page.locator('input[name=snapshot]').fill('/disks/overlay.qcow2')
    await page.locator('form:has(input[name=snapshot]) button').click()
    await page.locator('text=is no node').waitFor() // as the graph of this monitor never changes
    const { arguments: args } = monitor.commands.find(({ execute }) => execute === 'blockdev-snapshot-sync') ?? {}
    expect(await page.locator('text=is no node').textContent()).toContain(String(args?.['snapshot-node-name']))
  })

  it('tells how jobs ended', async () => {
    await page.goto(server.url)
    await page.waitForSelector('.box')
    monitor.tell('BLOCK_JOB_COMPLETED', { device: 'copy1', type: 'mirror' })
    monitor.tell('BLOCK_JOB_COMPLETED', { device: 'copy2', type: 'backup', error: 'No space left on device' })
    await expect
      .poll(() => page.locator('.finished li').allTextContents())
      .toEqual(['00:00:01 copy2 (backup) failed: No space left on device', '00:00:01 copy1 (mirror) completed'])
  })

  it('shows events, with markup in them as text', async () => {
    await page.goto(server.url)
    await page.waitForSelector('.box')
    monitor.tell('BLOCK_JOB_READY', { device: '<img src=x onerror=alert(1)>' })
    await page.locator('.log li').first().waitFor()
    expect(await page.locator('.log li').first().textContent()).toContain('<img src=x')
    expect(await page.locator('.log img').count()).toBe(0)
  })

  it('connects again when the monitor has ended', async () => {
    await page.goto(server.url)
    await page.waitForSelector('.on')
    for (const stream of monitor.streams) stream.destroy()
    await page.waitForSelector('.off')
    await page.waitForSelector('.on')
    expect(await page.locator('.box').count()).toBe(3)
  })

  it('says what to do when the address has no token', async () => {
    await page.goto(`http://127.0.0.1:${server.port}/`)
    await page.locator('text=Open the address that the daemon printed').waitFor()
    expect(monitor.commands).toEqual([])
  })

  describe('against a foreign page', () => {
    let foreign: Server
    beforeAll(async () => {
      foreign = createServer((_request, response) => response.setHeader('Content-Type', 'text/html').end('<p>hello'))
      await new Promise<void>((resolve) => foreign.listen(0, '127.0.0.1', resolve))
    })
    afterAll(() => foreign.close())

    const attacks: Readonly<Record<string, (target: string, token: string) => Promise<string>>> = {
      'a WebSocket with the right token': (target, token) =>
        new Promise((resolve) => {
          const socket = new WebSocket(`ws://${target}/qmp`, ['diskgraph.qmp', `diskgraph.token.${token}`])
          socket.onopen = () => {
            socket.send('{"execute":"quit"}')
            resolve('open')
          }
          socket.onerror = () => resolve('refused')
        }),
      'a POST as a form sends it': async (target) => {
        const body = '{"execute":"qmp_capabilities"}\n{"execute":"quit"}'
        await fetch(`http://${target}/qmp`, { method: 'POST', mode: 'no-cors', body }).catch(() => undefined)
        return 'refused'
      },
      'a fetch that wants to read': async (target) =>
        fetch(`http://${target}/`).then(
          () => 'open',
          () => 'refused',
        ),
      'a frame that shows the page': (target) =>
        new Promise((resolve) => {
          const frame = document.createElement('iframe')
          frame.src = `http://${target}/`
          // The error page of the browser is of no origin that could be read; it loads, too.
          frame.onload = () => resolve(frame.contentDocument === null ? 'refused' : 'open')
          document.body.append(frame)
        }),
    }
    for (const [name, attack] of Object.entries(attacks)) {
      it(`${name} runs nothing`, async () => {
        await page.goto(`http://127.0.0.1:${(foreign.address() as AddressInfo).port}/`)
        const token = new URL(server.url).hash.slice(1)
        const call = `(${attack.toString()})(${JSON.stringify(`127.0.0.1:${server.port}`)}, ${JSON.stringify(token)})`
        expect(await page.evaluate(call)).toBe('refused')
        expect(monitor.commands).toEqual([])
        expect(monitor.streams.size).toBe(0)
      })
    }
  })
})
