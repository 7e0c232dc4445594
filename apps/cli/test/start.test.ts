import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { BuiltPrograms } from './built-programs.ts'

const built = new BuiltPrograms('start')
const folder = mkdtempSync(join(tmpdir(), 'start-'))
const caches = join(folder, 'diskgraph')
const cache = join(caches, 'img-info.compiled')
const image = join(folder, 'disk.raw')

writeFileSync(image, new Uint8Array(4096))
afterAll(() => {
  built.remove()
  rmSync(folder, { recursive: true, force: true })
})
beforeEach(() => rmSync(caches, { recursive: true, force: true }))

function run(words: readonly string[], env: Record<string, string> = {}) {
  const settings = {
    encoding: 'utf8',
    timeout: 20_000,
    env: { ...process.env, XDG_CACHE_HOME: folder, ...env },
  } as const
  const { status, stdout, stderr } = spawnSync(process.execPath, [built.script('dg-img'), ...words], settings)
  return { status, stdout, stderr }
}

/** As if it were of another version of node. */
function otherHead(content: Buffer): Buffer {
  const text = content.toString('latin1').replace(' v', ' w')
  return Buffer.from(text, 'latin1')
}

function oneBit(content: Buffer): Buffer {
  const damaged = Buffer.from(content)
  const middle = Math.floor(content.length / 2)
  damaged[middle] = (damaged[middle] as number) ^ 1
  return damaged
}

const info = ['info', '-f', 'raw', image]
const answer = run(info, { NODE_DISABLE_COMPILE_CACHE: '1' })

describe('the compiled code of a command', () => {
  test('is kept for its user alone, and used by the next run', () => {
    expect(answer).toMatchObject({ status: 0, stderr: '' })
    expect(answer.stdout).toContain('virtual size: 4 KiB')
    expect(existsSync(caches)).toBe(false)
    expect(run(info)).toEqual(answer)
    expect(readdirSync(caches)).toEqual(['img-info.compiled'])
    expect(statSync(caches).mode & 0o777).toBe(0o700)
    expect(statSync(cache).mode & 0o777).toBe(0o600)
    const { ino } = statSync(cache)
    expect(run(info)).toEqual(answer)
    expect(statSync(cache).ino).toBe(ino)
  })

  test.each<[string, (content: Buffer) => Uint8Array]>([
    ['empty', () => new Uint8Array()],
    ['cut off', (content) => content.subarray(0, content.length / 2)],
    ['of another script', (content) => otherHead(content)],
    ['damaged in one bit', (content) => oneBit(content)],
    ['full of zeroes', (content) => Buffer.alloc(content.length)],
  ])('is made anew where it is %s', (_, spoil) => {
    run(info)
    const whole = readFileSync(cache)
    writeFileSync(cache, spoil(whole))
    const { ino } = statSync(cache)
    expect(run(info)).toEqual(answer)
    expect(statSync(cache).ino).not.toBe(ino)
    expect(statSync(cache).size).toBeGreaterThan(whole.length / 2)
  })

  test('is made anew where a pipe stands in its place', () => {
    run(info)
    rmSync(cache)
    execFileSync('mkfifo', [cache])
    expect(run(info)).toEqual(answer)
    expect(statSync(cache).isFile()).toBe(true)
  })

  test('is not taken of another script of the same length and time', () => {
    const script = join(built.script('dg-img'), '../../dist/tools.cjs')
    utimesSync(script, 1000, 1000)
    run(info)
    const text = readFileSync(script, 'latin1')
    writeFileSync(script, text.replaceAll('virtual size', 'VIRTUAL size'), 'latin1')
    utimesSync(script, 1000, 1000)
    expect(run(info).stdout).toContain('VIRTUAL size: 4 KiB')
    writeFileSync(script, text, 'latin1')
  })

  test('is not taken from a file that others can write', () => {
    run(info)
    chmodSync(cache, 0o666)
    expect(run(info)).toEqual(answer)
    expect(statSync(cache).mode & 0o777).toBe(0o600)
  })

  test('is not kept of a command that fails, whatever its name', () => {
    expect(run(['info', join(folder, 'missing')]).status).toBe(1)
    expect(run(['no-such-command']).status).toBe(1)
    expect(existsSync(caches)).toBe(false)
  })

  test.skipIf(process.platform !== 'linux')('is done without where none can be made, below /proc', () => {
    expect(run(info, { XDG_CACHE_HOME: '', HOME: '/proc' })).toEqual(answer)
  })

  test('is done without where there is no folder for it', () => {
    expect(run(info, { XDG_CACHE_HOME: join(folder, 'missing') })).toEqual(answer)
    expect(run(info, { XDG_CACHE_HOME: image })).toEqual(answer)
  })
})
