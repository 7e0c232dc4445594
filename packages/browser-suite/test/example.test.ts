/** The page of examples/browser, as a person uses it, in headless Chromium: built by vite, from the sources. */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findTool, peer } from '@diskgraph/driver-testkit'
import { type BrowserContext, chromium, type Page } from 'playwright-core'
import { build, type Rollup } from 'vite'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { browserSource } from './bundle.ts'
import { PageServer } from './server.ts'

const browserPeer = peer('chromium', { describe, it })
const content = randomBytes(3 * 2 ** 20)
const note = 'written in a browser'
const noteOffset = 2 ** 20 + 100

browserPeer.describe('the page of examples/browser', () => {
  let server: PageServer
  let context: BrowserContext
  let page: Page
  const disks = new Map<string, Uint8Array>()
  const folder = mkdtempSync(join(tmpdir(), 'browser-example-'))
  const inFolder = (name: string) => join(folder, name)

  beforeAll(async () => {
    writeFileSync(inFolder('disk.raw'), content)
    for (const format of ['qcow2', 'vmdk', 'vhdx']) {
      qemuImg('convert', '-f', 'raw', '-O', format, inFolder('disk.raw'), inFolder(`disk.${format}`))
      disks.set(`disk.${format}`, readFileSync(inFolder(`disk.${format}`)))
    }
    const changed = Buffer.from(content)
    changed.write(note, noteOffset)
    writeFileSync(inFolder('expected.raw'), changed)
    server = await PageServer.start(disks)
    server.files = await bundleExample()
    const executablePath = browserPeer.path as string
    const args = ['--no-sandbox', '--disable-gpu']
    context = await chromium.launchPersistentContext(inFolder('profile'), { executablePath, headless: true, args })
    page = await context.newPage()
  })

  afterAll(async () => {
    await context?.close()
    await server?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const status = () => page.locator('#status').textContent()
  const says = (text: string) => expect.poll(status, { timeout: 30_000 }).toContain(text)

  for (const format of ['qcow2', 'vmdk', 'vhdx', 'raw']) {
    it(`opens a ${format} image from a file, keeps what is written over a reload, and gives it back`, async () => {
      await page.goto(server.origin)
      await page.setInputFiles('input[name=file]', inFolder(`disk.${format}`))
      await page.click('#open button')
      await says('Open.')
      expect(await useDisk()).toContain(`${format}, ${content.length} bytes: opfs:session/base`)
    })
  }

  for (const format of ['qcow2', 'vmdk', 'vhdx']) {
    it(`opens a ${format} image by its address, with its overlay over a reload, and gives it back`, async () => {
      await page.goto(server.origin)
      await page.fill('input[name=url]', `${server.origin}/disk/disk.${format}`)
      await page.click('#open button')
      await says('Open.')
      expect(await useDisk()).toContain(`${format}, ${content.length} bytes: ${server.origin}/disk/disk.${format}`)
    })
  }

  it('says what is wrong', async () => {
    await page.goto(server.origin)
    await page.click('#open button')
    await says('choose a file or give an address')
    await page.fill('input[name=url]', `${server.origin}/disk/missing`)
    await page.click('#open button')
    await says('404')
    expect(await page.locator('#status').getAttribute('class')).toBe('failed')
    expect(await page.locator('#disk').isVisible()).toBe(false)
  })

  /** Writes, reloads, looks, downloads, compares by real tools, and forgets it at the end. Returns the layers. */
  async function useDisk(): Promise<string | null> {
    expect(await page.locator('#open').isVisible()).toBe(false)
    await page.fill('#write input[name=offset]', String(noteOffset))
    await page.fill('#write input[name=text]', note)
    await page.click('#write button')
    await says(`${note.length} bytes written`)
    await page.reload()
    await says('This is the disk of your last visit.')
    await page.fill('#look input[name=offset]', String(noteOffset))
    await page.click('#look button')
    await expect.poll(() => page.locator('#bytes').textContent()).toContain(note.slice(0, 16))
    const [download] = await Promise.all([page.waitForEvent('download'), page.click('#download')])
    const result = inFolder('result.qcow2')
    await download.saveAs(result)
    qemuImg('check', '-q', result)
    qemuImg('compare', '-q', '-f', 'qcow2', '-F', 'raw', result, inFolder('expected.raw'))
    const layers = await page.locator('#layers').textContent()
    await page.click('#forget')
    await says('Nothing is kept any more.')
    return layers
  }
})

function qemuImg(...args: string[]): void {
  execFileSync(findTool('qemu-img') ?? 'qemu-img', args)
}

async function bundleExample(): Promise<Map<string, Uint8Array>> {
  const packages = fileURLToPath(new URL('../../', import.meta.url))
  const built = (await build({
    root: fileURLToPath(new URL('../../../examples/browser', import.meta.url)),
    logLevel: 'error',
    build: { write: false, target: 'es2022' },
    resolve: { alias: [{ find: /^@diskgraph\/core\/(\w+)$/, replacement: `${packages}core/src/$1.ts` }] },
    plugins: [
      {
        name: 'workspace',
        enforce: 'pre',
        resolveId: (id) => {
          const [, name] = /^@diskgraph\/([^/]+)$/.exec(id) ?? []
          return name === undefined ? undefined : browserSource(name)
        },
      },
    ],
  })) as Rollup.RollupOutput
  return new Map(
    built.output.map((file) => [
      file.fileName === 'index.html' ? '/' : `/${file.fileName}`,
      Buffer.from(file.type === 'asset' ? file.source : file.code),
    ]),
  )
}
