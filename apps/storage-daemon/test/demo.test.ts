/** The demonstration as it is built: clients of other people's, and its page in a real browser. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { peer, TempFolder } from '@diskgraph/driver-testkit'
import { chromium } from 'playwright-core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const program = fileURLToPath(new URL('../bin/dg-storage-daemon.js', import.meta.url))
const qemuIo = peer('qemu-io', { describe, it })
const browser = peer('chromium', { describe, it })

let folder: TempFolder
let daemon: ChildProcess
let output: string

beforeEach(async () => {
  folder = await TempFolder.make()
  daemon = spawn(process.execPath, [program, '--demo', folder.file('demo'), '--console', '0'])
  output = ''
  daemon.stdout?.on('data', (chunk) => {
    output += chunk
  })
  daemon.stderr?.on('data', (chunk) => {
    output += chunk
  })
  await expect.poll(() => output, { timeout: 20_000 }).toContain('Ctrl-C ends it.')
})

afterEach(async () => {
  daemon.kill('SIGKILL')
  await folder.remove()
})

async function end(): Promise<void> {
  daemon.kill('SIGTERM')
  expect(await once(daemon, 'close')).toEqual([0, null])
}

/** A line of the guide that begins with `command`, as somebody types it. */
function typed(command: string): string {
  return output.split('\n').find((line) => line.trim().startsWith(command)) ?? ''
}

qemuIo.it('runs the lines that it prints', async () => {
  for (const command of ['qemu-img info', 'qemu-io']) execFileSync('/bin/sh', ['-c', typed(command)])
  const uri = `nbd+unix:///disk?socket=${folder.file('demo/nbd.sock')}`
  execFileSync(qemuIo.path ?? '', ['-r', '-f', 'raw', '-c', 'read -P 7 32M 8M', uri])
  await end()
  const check = execFileSync('qemu-img', ['check', '--output=json', folder.file('demo/disk.qcow2')], {
    encoding: 'utf8',
  })
  expect(JSON.parse(check)).toMatchObject({ 'check-errors': 0 })
  execFileSync(qemuIo.path ?? '', ['-r', '-c', 'read -P 7 32M 8M', folder.file('demo/disk.qcow2')])
  expect(readdirSync(folder.file('demo')).sort()).toEqual(['base.img', 'disk.qcow2'])
})

it('begins in no folder that has something in it', async () => {
  const second = spawn(process.execPath, [program, '--demo', folder.file('demo'), '--console', '0'])
  let stderr = ''
  second.stderr?.on('data', (chunk) => {
    stderr += chunk
  })
  expect(await once(second, 'close')).toEqual([1, null])
  expect(stderr).toContain('is not empty: a demonstration begins in a folder of its own')
  await end()
})

browser.it('takes a snapshot and makes a backup from its page', async () => {
  const args = ['--no-sandbox', '--disable-gpu', '--disable-background-networking']
  const chrome = await chromium.launch({ executablePath: browser.path ?? '', args })
  try {
    const page = await chrome.newPage()
    const failures: string[] = []
    page.on('pageerror', (error) => failures.push(error.message))
    await page.goto(/http:\S+/.exec(output)?.[0] ?? '')
    await page.locator('[aria-label="block-driver disk"]').click()
    await page.locator('input[name=snapshot]').fill(folder.file('demo/snapshot.qcow2'))
    await page.locator('form:has(input[name=snapshot]) button').click()
    await expect.poll(() => page.locator('.box.block-driver').count()).toBe(6)
    await page.locator('[aria-label^="block-driver snap-"]').click()
    await page.locator('input[name=target]').fill(folder.file('demo/backup.qcow2'))
    await page.locator('form:has(select) button').click()
    await page.locator('.log li', { hasText: 'BLOCK_JOB_COMPLETED' }).waitFor()
    expect(await page.locator('.failure').count()).toBe(0)
    expect(failures).toEqual([])
  } finally {
    await chrome.close()
  }
  await end()
  const images = ['base.img', 'backup.qcow2'].map((name) => folder.file(`demo/${name}`))
  execFileSync('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', ...images])
})
