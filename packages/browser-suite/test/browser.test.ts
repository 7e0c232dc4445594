/**
 * The packages that run in browsers, in a real one: Debian's Chromium, headless, with a profile of its own that is
 * removed. The page runs everything once while this file is collected; then each of its tests becomes one here.
 *
 * Without Chromium one skipped test stands for all of them; with DISKGRAPH_REQUIRE_PEERS=1 it fails.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Flag, Graph } from '@diskgraph/core'
import { type MemoryStorage, memoryDriver } from '@diskgraph/driver-memory'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { peer } from '@diskgraph/driver-testkit'
import { chromium } from 'playwright-core'
import { describe, expect, it } from 'vitest'
import { bundleAlone, bundlePage } from './bundle.ts'
import { conformanceSize, guestSize, patternOf, patternSize } from './page/disks.ts'
import type { TestResult } from './page/vitest.ts'
import { PageServer } from './server.ts'

const flags = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** A qcow2 image with compressed clusters, made by Node's zlib. */
async function compressedImage(): Promise<Uint8Array> {
  const storages = new Map<string, MemoryStorage>()
  await using graph = new Graph({ drivers: [memoryDriver(storages), qcow2] })
  const file = { driver: 'memory', name: 'image' } as const
  await graph.create({ driver: 'qcow2', size: guestSize, file })
  const disk = await graph.add({ driver: 'qcow2', file })
  const pattern = patternOf(guestSize)
  for (let at = 0; at < guestSize; at += 65536) await disk.write(at, pattern.subarray(at, at + 65536), Flag.Compressed)
  await disk.close()
  const storage = storages.get('image')
  const bytes = new Uint8Array(storage?.size ?? 0)
  storage?.read(0, bytes)
  return bytes
}

/** Runs the page and returns what it reports. */
async function runPage(executablePath: string): Promise<TestResult[]> {
  const disks = new Map([
    ['pattern', patternOf(patternSize)],
    ['changing', patternOf(patternSize)],
    ['conformance', patternOf(conformanceSize)],
    ['compressed.qcow2', await compressedImage()],
  ])
  const server = await PageServer.start(disks)
  const profile = await mkdtemp(join(tmpdir(), 'diskgraph-chromium-'))
  const results: TestResult[] = []
  try {
    server.files = await bundlePage()
    const browser = await chromium.launchPersistentContext(profile, { executablePath, headless: true, args: flags })
    try {
      const page = await browser.newPage()
      const crashed = new Promise<never>((_, reject) => {
        page.on('crash', () => reject(new Error('the page crashed')))
        page.on('pageerror', (error) => reject(error))
      })
      await page.exposeFunction('reportResult', (result: TestResult) => void results.push(result))
      await page.goto(server.origin)
      const finished = page.waitForFunction(() => globalThis.finished === true, undefined, { timeout: 900_000 })
      await Promise.race([finished, crashed])
    } finally {
      await browser.close()
    }
  } catch (error) {
    const failure = error instanceof Error ? (error.stack ?? error.message) : String(error)
    results.push({ path: ['page', 'runs to the end'], duration: 0, failure })
  } finally {
    await server.close()
    await rm(profile, { recursive: true, force: true })
  }
  return results
}

describe('bundles for browsers', () => {
  const exported = {
    core: 'Graph',
    'driver-raw': 'raw',
    'driver-qcow2': 'qcow2',
    'driver-http': 'http',
    'driver-blob': 'blob',
    'driver-memory': 'memory',
    'driver-null': 'nullCo',
    'driver-opfs': 'opfs',
  }
  for (const [name, what] of Object.entries(exported)) {
    it(`${name} builds without anything of Node`, async () => {
      const text = new TextDecoder().decode(await bundleAlone(name, what))
      expect(text.length).toBeGreaterThan(500)
      expect(text).not.toMatch(/(?<![\w.])(process|Buffer)\.\w/)
    })
  }
})

const browser = peer('chromium', { describe, it })
const results = browser.path === undefined ? undefined : await runPage(browser.path)

if (results === undefined) {
  browser.it('core, raw, qcow2, http, blob, memory and opfs pass their suites in headless Chromium', () => undefined)
} else {
  describe('in headless Chromium', () => {
    for (const { path, failure, duration } of results) {
      const name = path.join(' > ')
      if (duration === 'skipped') it.skip(name, () => undefined)
      else {
        it(name, () => {
          if (failure !== undefined) throw new Error(failure)
        })
      }
    }
  })
}
