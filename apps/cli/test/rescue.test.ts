/** `diskgraph rescue`: what it reads, what it makes, and what it leaves when it is cut off. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { runImg } from '../src/img/main.ts'
import { runIo } from '../src/io/main.ts'
import { runProgram } from '../src/main.ts'
import { runDiskgraph } from '../src/people/main.ts'
import { type CapturedTerminal, capturedTerminal } from './captured-terminal.ts'

const cluster = 65536
const name = 'disk.qcow2'
let folder = ''
const before = process.cwd()

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'rescue-'))
  process.chdir(folder)
  await image('-f', 'qcow2', name, '1M')
  await io('-c', 'write -P 1 0 256k', name)
})

afterEach(() => {
  process.chdir(before)
  rmSync(folder, { recursive: true, force: true })
})

type Result = Pick<CapturedTerminal, 'stdout' | 'stderr'> & { readonly code: number }

async function run(words: string[], onOut?: (text: string) => void, signal?: AbortSignal): Promise<Result> {
  const terminal = capturedTerminal('diskgraph', { forPeople: true, ...(signal === undefined ? {} : { signal }) })
  const { out } = terminal
  terminal.out = (text) => {
    out(text)
    onOut?.(text)
  }
  const code = await runProgram(runDiskgraph, words, terminal)
  return { code, stdout: terminal.stdout, stderr: terminal.stderr }
}

async function image(...words: string[]): Promise<void> {
  const terminal = capturedTerminal()
  expect(await runProgram(runImg, ['create', '-q', ...words], terminal), terminal.stderr).toBe(0)
}

async function io(...words: string[]): Promise<void> {
  const terminal = capturedTerminal('dg-io')
  expect(await runProgram(runIo, words, terminal), terminal.stderr).toBe(0)
}

/** Makes the entry of the second guest cluster one that contradicts the format. */
function damage(): void {
  const bytes = readFileSync(name)
  const at = (offset: number): number => Number(bytes.readBigUInt64BE(offset) & 0xfffffffffffe00n)
  bytes.writeBigUInt64BE(0x8000000000050200n, at(at(40)) + 8)
  writeFileSync(name, bytes)
}

async function formatOf(filename: string): Promise<string> {
  const { stdout } = await run(['info', '--output=json', filename])
  return JSON.parse(stdout).format
}

describe('formats', () => {
  test('the name of the target says its format, and both formats are told', async () => {
    const { code, stdout } = await run(['rescue', name, 'saved.qcow2'])
    expect(code).toBe(0)
    expect(stdout).toContain("Target format: qcow2, from the name 'saved.qcow2' (-O FORMAT says otherwise)\n")
    expect(stdout).toContain('Source format: qcow2\n')
    expect(await formatOf('saved.qcow2')).toBe('qcow2')
    expect((await run(['compare', name, 'saved.qcow2'])).code).toBe(0)
  })

  test('JSON alone is on standard output', async () => {
    const { stdout, stderr } = await run(['rescue', '--output=json', name, 'saved.qcow2'])
    expect(JSON.parse(stdout)).toEqual([])
    expect(stderr).toContain('Source format: qcow2\n')
  })

  test('a name that says none needs -O', async () => {
    const { code, stderr } = await run(['rescue', name, 'saved.disk'])
    expect([code, existsSync('saved.disk')]).toEqual([1, false])
    expect(stderr).toContain("cannot tell the format of 'saved.disk' from its name")
    expect((await run(['rescue', '-O', 'raw', name, 'saved.disk'])).code).toBe(0)
  })

  test('an image whose signature is lost is not taken for raw data, unless -f raw says so', async () => {
    const bytes = readFileSync(name)
    bytes.fill(0x5a, 0, 4)
    writeFileSync(name, bytes)
    const { code, stderr } = await run(['rescue', name, 'saved.raw'])
    expect([code, existsSync('saved.raw')]).toEqual([1, false])
    expect(stderr).toContain("'disk.qcow2' has the signature of no format, though its name says qcow2")
    expect(stderr).toContain('diskgraph rescue -f raw disk.qcow2 saved.raw')
    expect((await run(['rescue', '-f', 'raw', name, 'saved.raw'])).code).toBe(0)
  })

  test('noise under another name is read as raw data, with a warning that names -f', async () => {
    writeFileSync('noise', Buffer.alloc(cluster, 0x5a))
    const { code, stdout, stderr } = await run(['rescue', 'noise', 'saved.raw'])
    expect(code).toBe(0)
    expect(stdout).toContain('Source format: raw\n')
    expect(stderr).toContain('noise has the signature of no format: it is read as raw data; -f FORMAT says otherwise')
  })

  test('-o help shows the options of the new image', async () => {
    const { code, stdout } = await run(['rescue', '-O', 'qcow2', '-o', 'help', name, 'saved.img'])
    expect([code, existsSync('saved.img')]).toEqual([0, false])
    expect(stdout).toContain('Supported options:\n')
    expect(stdout).toContain('cluster_size=')
    expect((await run(['rescue', '-o', 'help', name, 'saved.qcow2'])).stdout).toContain('cluster_size=')
  })
})

describe('what was saved', () => {
  test('a target that is there already is kept, unless --overwrite gives it up', async () => {
    writeFileSync('saved.raw', 'all that I have')
    const { code, stderr } = await run(['rescue', name, 'saved.raw'])
    expect(code).toBe(1)
    expect(stderr).toContain("'saved.raw' is there already")
    expect(readFileSync('saved.raw', 'utf8')).toBe('all that I have')
    expect((await run(['rescue', '--overwrite', name, 'saved.raw'])).code).toBe(0)
    expect(readFileSync('saved.raw').length).toBe(2 ** 20)
  })

  test('stays when the work is interrupted, with what is missing of it', async () => {
    damage()
    const abort = new AbortController()
    const onOut = (text: string): void => {
      if (text.includes('"start"')) abort.abort()
    }
    const { code, stdout, stderr } = await run(['rescue', '--output=json', name, 'saved.raw'], onOut, abort.signal)
    expect(code).not.toBe(0)
    expect(JSON.parse(stdout)).toMatchObject([{ start: cluster, length: cluster }])
    expect(stderr).toContain('saved.raw is kept: it holds what could be read of the first 1 MiB of 1 MiB\n')
    const saved = readFileSync('saved.raw')
    expect([saved[0], saved[cluster], saved[2 * cluster]]).toEqual([1, 0, 1])
  })

  test('goes when nothing was', async () => {
    const signal = AbortSignal.abort()
    expect((await run(['rescue', name, 'saved.raw'], undefined, signal)).code).not.toBe(0)
    expect(existsSync('saved.raw')).toBe(false)
  })
})
