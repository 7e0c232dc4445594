import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { runImg } from '../src/img/main.ts'
import { runIo } from '../src/io/main.ts'
import { runProgram } from '../src/main.ts'
import { runDiskgraph } from '../src/people/main.ts'
import { capturedTerminal } from './captured-terminal.ts'

let folder = ''
const before = process.cwd()

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'driver-packages-'))
  process.chdir(folder)
  vi.stubEnv('XDG_CONFIG_HOME', join(folder, 'config'))
})

afterEach(() => {
  process.chdir(before)
  vi.unstubAllEnvs()
  rmSync(folder, { recursive: true, force: true })
})

/** A package in the `node_modules` of `root`. */
function addPackage(
  name: string,
  source: string,
  { manifest = { type: 'module', exports: './index.js' } as object, root = folder } = {},
): string {
  const target = join(root, 'node_modules', name)
  mkdirSync(target, { recursive: true })
  writeFileSync(join(target, 'package.json'), JSON.stringify({ name, ...manifest }))
  writeFileSync(join(target, 'index.js'), source)
  return target
}

function addConfig(content: string): string {
  mkdirSync(join(folder, 'config', 'diskgraph'), { recursive: true })
  const path = join(folder, 'config', 'diskgraph', 'config.json')
  writeFileSync(path, content)
  return path
}

const answering = (size: number): string => `
globalThis.loadedDrivers = (globalThis.loadedDrivers ?? 0) + 1
export const answer = {
  name: 'answer', kind: 'protocol', description: 'always 42', options: {}, prefixes: ['answer'],
  parseFilename: () => ({}),
  open: async () => ({ size: ${size}, read: (offset, buf) => { buf.fill(42); return Promise.resolve() } }),
}`

/** A driver that tells when its code runs, whatever its name is asked for. */
const hostile = (name: string): string => `
globalThis.hostileCode = (globalThis.hostileCode ?? 0) + 1
export const driver = { name: '${name}', kind: 'format', description: '', options: {}, open: async () => { throw new Error('hostile') } }`

interface Result {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

async function run(...words: string[]): Promise<Result> {
  const terminal = capturedTerminal('dg-img')
  const code = await runProgram(runImg, words, terminal)
  return { code, stdout: terminal.stdout, stderr: terminal.stderr }
}

function hostileRuns(): number {
  return (globalThis as { hostileCode?: number }).hostileCode ?? 0
}

describe('a name out of an image', () => {
  const names = ['evil', 'cloop', 'vdi']

  beforeEach(async () => {
    const inside = join(folder, 'inside')
    mkdirSync(inside)
    for (const name of names) {
      for (const root of [folder, inside]) {
        for (const packageName of [`diskgraph-driver-${name}`, `@diskgraph/driver-${name}`]) {
          addPackage(packageName, hostile(name), { root })
        }
      }
    }
    process.chdir(inside)
    writeFileSync('base', Buffer.alloc(65536))
  })

  const cases: readonly (readonly [what: string, backing: string, format: string | undefined])[] = [
    ['a backing format', 'base', 'evil'],
    ['a backing format that QEMU has and the tools lack', 'base', 'cloop'],
    ['a json: name', 'json:{"driver":"evil","file":{"driver":"file","filename":"base"}}', 'raw'],
    ['a json: name of a nested driver', 'json:{"driver":"raw","file":{"driver":"evil"}}', 'raw'],
    ['a json: name with dotted keys', 'json:{"driver":"raw","file.driver":"evil"}', 'raw'],
    ['the protocol of a name', 'evil:base', 'raw'],
    ['a path as the format', 'base', '../inside/node_modules/diskgraph-driver-evil'],
    ['a package name as the format', 'base', 'diskgraph-driver-evil'],
  ]

  test.each(cases)('loads nothing from the folder of the tool or above it: %s', async (_, backing, format) => {
    await run('create', '-q', '-u', '-f', 'qcow2', '-b', backing, '-F', 'raw', 'x.qcow2', '1M')
    if (format !== 'raw') {
      // Straight into the header extension, as the name would not pass a check.
      const rebased = await run(
        'create',
        '-q',
        '-u',
        '-f',
        'qcow2',
        '-b',
        backing,
        '-F',
        String(format),
        'x.qcow2',
        '1M',
      )
      expect([0, 1]).toContain(rebased.code)
    }
    const had = hostileRuns()
    for (const words of [
      ['map', 'x.qcow2'],
      ['info', '--backing-chain', 'x.qcow2'],
      ['convert', '-O', 'raw', 'x.qcow2', 'out'],
      ['check', 'x.qcow2'],
      ['compare', 'x.qcow2', 'x.qcow2'],
      ['rebase', '-b', '', 'x.qcow2'],
      ['commit', 'x.qcow2'],
    ]) {
      await run(...words)
    }
    for (const words of [['tree', 'x.qcow2'], ['inspect', '--untrusted', 'x.qcow2'], ['drivers']]) {
      await runProgram(runDiskgraph, words, capturedTerminal('diskgraph', { forPeople: true }))
    }
    await runProgram(runIo, ['-c', 'read 0 512', 'x.qcow2'], capturedTerminal('dg-io'))
    expect(hostileRuns()).toBe(had)
  })

  test.each([
    ['-f', ['info', '-f', 'evil', 'base']],
    ['-O', ['convert', '-O', 'evil', 'base', 'out']],
    ['-f of a new image', ['create', '-f', 'evil', 'new', '1M']],
    ['a name with a prefix', ['info', 'evil:base']],
    ['image options', ['info', '--image-opts', 'driver=evil']],
  ])('and a format that a person names is not looked for there either: %s', async (_, words) => {
    const had = hostileRuns()
    expect((await run(...words)).code).toBe(1)
    expect(hostileRuns()).toBe(had)
  })
})

describe('a driver that is enabled', () => {
  test('by its path is there for every name, in all programs', async () => {
    const path = addPackage('diskgraph-driver-answer', answering(1024))
    const { code, stdout, stderr } = await run('--driver', path, 'info', '--image-opts', 'driver=answer')
    expect(stderr).toBe('')
    expect(code).toBe(0)
    expect(stdout).toContain('file format: answer\nvirtual size: 1 KiB (1024 bytes)\n')
    expect((await run(`--driver=${path}`, 'map', '-f', 'raw', 'answer:x')).stdout).toContain('0               0x400')
    const io = capturedTerminal('dg-io')
    const words = ['--driver', path, '-r', '-c', 'read -P 42 0 512', '--image-opts', 'driver=answer']
    expect(await runProgram(runIo, words, io), io.stderr).toBe(0)
    expect(io.stdout).toContain('read 512/512 bytes')
    const people = capturedTerminal('diskgraph', { forPeople: true })
    expect(await runProgram(runDiskgraph, ['--no-color', '--driver', path, 'drivers', '--json'], people)).toBe(0)
    expect(people.stdout).toContain('"answer"')
  })

  test('may be a file, and the word may be repeated', async () => {
    const one = join(addPackage('one', answering(1024)), 'index.js')
    const two = addPackage('two', answering(2048).replaceAll('answer', 'reply'))
    const both = ['--driver', one, '--driver', two]
    expect((await run(...both, 'info', '--image-opts', 'driver=answer')).stdout).toContain('(1024 bytes)')
    expect((await run(...both, 'info', '--image-opts', 'driver=reply')).stdout).toContain('(2048 bytes)')
  })

  test('by its name is looked for where the tool is installed and not where it is run', async () => {
    addPackage('diskgraph-driver-answer', answering(1024))
    const { code, stderr } = await run('--driver', 'answer', 'info', '--image-opts', 'driver=answer')
    expect(code).toBe(1)
    expect(stderr).toMatch(
      /^dg-img: cannot find driver 'answer': neither '@diskgraph\/driver-answer' nor 'diskgraph-driver-answer' is installed beside the tool/,
    )
  })

  test('by the configuration of the user is there without a word', async () => {
    addPackage('diskgraph-driver-answer', answering(1024))
    addConfig('{"drivers": ["../../node_modules/diskgraph-driver-answer"]}')
    expect((await run('info', '--image-opts', 'driver=answer')).stdout).toContain('(1024 bytes)')
    const people = capturedTerminal('diskgraph', { forPeople: true })
    expect(await runProgram(runDiskgraph, ['drivers'], people)).toBe(0)
    expect(people.stdout).toMatch(/^answer\* +●/m)
  })

  test('may be opened by a name that stands in an image', async () => {
    const path = addPackage('diskgraph-driver-answer', answering(65536))
    await run('create', '-q', '-u', '-f', 'qcow2', '-b', 'answer:x', '-F', 'raw', 'x.qcow2', '64k')
    expect((await run('convert', '-O', 'raw', 'x.qcow2', 'out')).code).toBe(1)
    expect((await run('--driver', path, 'convert', '-O', 'raw', 'x.qcow2', 'out')).code).toBe(0)
  })

  test('is told after the command that it stands before it', async () => {
    const path = addPackage('diskgraph-driver-answer', answering(1024))
    const { code, stderr } = await run('info', '--driver', path, '--image-opts', 'driver=answer')
    expect(code).toBe(1)
    expect(stderr).toContain("dg-img: '--driver' stands before the command\n")
  })
})

describe('a driver that cannot be enabled', () => {
  test.each([
    ["throw new Error('it is broken')", /cannot load driver '.*broken': it is broken\n$/],
    ['export const x = 1', /'.*broken' exports no driver\n$/],
  ])('is named, with the reason: %s', async (source, message) => {
    const path = addPackage('broken', source)
    const { code, stderr } = await run('--driver', path, 'info', 'x')
    expect(code).toBe(1)
    expect(stderr).toMatch(message)
  })

  test.each(['.', '..', '', 'a b', 'a\0b', '-x'])('has no name such as %j', async (name) => {
    addPackage('x', answering(1024))
    const { code, stderr } = await run(`--driver=${name}`, 'info', 'x')
    expect(code).toBe(1)
    expect(stderr).toContain('neither the name of a driver nor a path')
  })

  test.each([
    ['{"drivers": ["x"', 'Could not read'],
    ['[]', "has no list 'drivers'"],
    ['{"drivers": "x"}', "has no list 'drivers'"],
    ['{"drivers": [1]}', "has no list 'drivers'"],
    ['{"drivers": [], "driver": []}', "unknown member 'driver'"],
  ])('by a broken configuration is a clear error: %s', async (content, message) => {
    const path = addConfig(content)
    const { code, stderr } = await run('info', 'x')
    expect(code).toBe(1)
    expect(stderr).toContain(message)
    expect(stderr).toContain(path)
  })

  test('does not come from a configuration that the current folder holds', async () => {
    vi.stubEnv('XDG_CONFIG_HOME', 'config')
    vi.stubEnv('HOME', join(folder, 'home'))
    addPackage('diskgraph-driver-answer', answering(1024))
    addConfig('{"drivers": ["../../node_modules/diskgraph-driver-answer"]}')
    expect((await run('info', '--image-opts', 'driver=answer')).stderr).toContain("Unknown driver 'answer'")
  })
})
