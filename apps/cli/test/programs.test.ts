import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { BuiltPrograms } from './built-programs.ts'

let programs: BuiltPrograms
let folder = ''

beforeAll(() => {
  programs = new BuiltPrograms('programs-test')
  folder = mkdtempSync(join(tmpdir(), 'programs-'))
})

afterAll(() => {
  programs.remove()
  rmSync(folder, { recursive: true, force: true })
})

function run(program: string, words: readonly string[], options: { cwd?: string; input?: string } = {}) {
  const script = program.includes('/') ? program : programs.script(program)
  return spawnSync(process.execPath, [script, ...words], { cwd: folder, encoding: 'utf8', timeout: 30_000, ...options })
}

/** Runs a line of the shell, in which `$DG_IMG` and `$DISKGRAPH` are the programs. */
function shell(line: string) {
  const of = (name: string): string => `'${process.execPath}' '${programs.script(name)}'`
  const env = { ...process.env, DG_IMG: of('dg-img'), DISKGRAPH: of('diskgraph') }
  return spawnSync('/bin/sh', ['-c', line.replace(/\$(DG_IMG|DISKGRAPH)/g, (_, name) => env[name as 'DG_IMG'] ?? '')], {
    cwd: folder,
    encoding: 'utf8',
    timeout: 30_000,
  })
}

describe('the programs', () => {
  test.each(['dg-img', 'dg-io', 'diskgraph'])('%s tells its version', (name) => {
    const { stdout, status } = run(name, ['--version'])
    expect(stdout).toMatch(new RegExp(`^${name} .*\\d+\\.\\d+\\.\\d+`))
    expect(status).toBe(0)
  })

  test('a link with another name gives messages with that name', () => {
    const link = join(folder, 'qemu-img')
    symlinkSync(programs.script('dg-img'), link)
    expect(run(link, ['info', 'nofile']).stderr).toBe(
      "qemu-img: Could not open 'nofile': Could not open 'nofile': No such file or directory\n",
    )
    expect(run(link, ['--version']).stdout).toMatch(/^qemu-img version 7\.2\.\d+ /)
  })

  test('the exit code of a command is that of the process', () => {
    expect(run('dg-img', ['create', '-q', 'a.img', '1M']).status).toBe(0)
    expect(run('dg-img', ['check', 'a.img']).status).toBe(63)
    expect(run('dg-img', ['compare', 'a.img', 'nofile']).status).toBe(2)
    expect(run('dg-img', []).status).toBe(1)
  })

  test('an image is opened without loading drivers that it does not need', () => {
    run('dg-img', ['create', '-q', '-f', 'qcow2', 'b.qcow2', '1M'])
    const list = join(folder, 'list.cjs')
    writeFileSync(list, "process.on('exit', () => console.error(process.moduleLoadList.join('\\n')))")
    const words = ['-r', list, programs.script('dg-img'), 'info', 'b.qcow2']
    const { stderr } = spawnSync(process.execPath, words, { cwd: folder, encoding: 'utf8' })
    const loaded = stderr.split('\n')
    expect(loaded).toContain('NativeModule fs')
    for (const name of ['http', 'https', 'net', 'tls', 'crypto', 'fs/promises', 'child_process']) {
      expect(loaded).not.toContain(`NativeModule ${name}`)
    }
  })
})

describe('a reader that goes away', () => {
  test('ends a command without a message', () => {
    const { stderr, stdout } = shell('$DG_IMG --help | head -n 1')
    expect(stdout).toContain('dg-img version')
    expect(stderr).toBe('')
    expect(shell('($DISKGRAPH drivers --json; echo "code $?" >&2) | true').stderr).not.toMatch(/EPIPE|at /)
  })
})

describe('an interruption', () => {
  beforeAll(() => {
    for (const name of ['x.img', 'y.img']) {
      expect(run('dg-img', ['create', '-q', '-o', 'preallocation=full', name, '256M']).status).toBe(0)
    }
  })

  test.each(['SIGINT', 'SIGTERM'] as const)('%s ends a comparison with the code of the signal', async (signal) => {
    const words = ['compare', 'x.img', 'y.img', '--progress=json']
    const child = spawn(process.execPath, [programs.script('diskgraph'), ...words], { cwd: folder })
    let stderr = ''
    const code = await new Promise<number | null>((resolve) => {
      child.stderr.on('data', (data: Buffer) => {
        if (stderr === '') child.kill(signal)
        stderr += data.toString()
      })
      child.on('close', resolve)
    })
    expect(stderr).toContain('diskgraph: interrupted\n')
    expect(code).toBe(signal === 'SIGINT' ? 130 : 143)
  })

  test('removes the target that a conversion has begun', async () => {
    const words = ['convert', '-c', '-O', 'qcow2', 'x.img', 'target.qcow2', '--progress=json']
    const child = spawn(process.execPath, [programs.script('diskgraph'), ...words], { cwd: folder })
    const code = await new Promise<number | null>((resolve) => {
      child.stderr.once('data', () => child.kill('SIGINT'))
      child.on('close', resolve)
    })
    expect(code).toBe(130)
    expect(existsSync(join(folder, 'target.qcow2'))).toBe(false)
  })
})

/** Runs a program, and sends it `signals` when it has said its first word. */
function interrupted(program: string, words: readonly string[], signals: readonly NodeJS.Signals[]) {
  const child = spawn(process.execPath, [programs.script(program), ...words], { cwd: folder })
  let stderr = ''
  let sentAt = 0
  const send = (): void => {
    if (sentAt !== 0) return
    sentAt = performance.now()
    for (const signal of signals) child.kill(signal)
  }
  child.stdout.on('data', send)
  child.stderr.on('data', (data: Buffer) => {
    stderr += data.toString()
    send()
  })
  return new Promise<{ code: number | null; stderr: string; milliseconds: number }>((resolve) => {
    child.on('close', (code) => resolve({ code, stderr, milliseconds: performance.now() - sentAt }))
  })
}

/** A driver that says a word when it is read, and never answers; with `awake` the process has something to do still. */
function addSilentDriver(name: string, awake: boolean): string {
  const path = join(folder, `${name}.mjs`)
  writeFileSync(
    path,
    `export const driver = {
       name: '${name}', kind: 'protocol', description: '', options: {}, prefixes: ['${name}'], parseFilename: () => ({}),
       open: async () => ({
         size: 1048576,
         read: () => {
           process.stderr.write('reading\\n')
           ${awake ? 'setInterval(() => {}, 1000)' : ''}
           return new Promise(() => {})
         },
       }),
     }`,
  )
  return path
}

describe('a request that is never answered', () => {
  const commands: readonly (readonly [program: string, words: readonly string[]])[] = [
    ['dg-img', ['convert', '-f', 'raw', '-O', 'raw', 'silent:', 'never.img']],
    ['dg-img', ['info', 'silent:']],
    ['diskgraph', ['compare', '-f', 'raw', '-F', 'raw', 'silent:', 'silent:']],
    ['dg-io', ['-r', '-f', 'raw', '-c', 'read 0 512', 'silent:']],
  ]

  test.each(commands)('is an error of %s %j where nothing else is left to do', (program, words) => {
    const { status, stderr } = run(program, ['--driver', addSilentDriver('silent', false), ...words])
    expect(stderr).toContain(`${program}: internal error: the command cannot go on`)
    expect(status).toBe(1)
  })

  test.each(commands)('does not keep %s %j from ending on a signal', async (program, words) => {
    const driver = addSilentDriver('silent', true)
    const { code, milliseconds } = await interrupted(program, ['--driver', driver, ...words], ['SIGTERM'])
    expect(code).toBe(143)
    expect(milliseconds).toBeLessThan(1500)
  })

  test('is given up at once on a second signal', async () => {
    const words = ['--driver', addSilentDriver('silent', true), 'info', 'silent:']
    const { code, milliseconds } = await interrupted('dg-img', words, ['SIGTERM', 'SIGINT'])
    // Which of the two comes first is up to the system.
    expect([130, 143]).toContain(code)
    expect(milliseconds).toBeLessThan(600)
  })
})

describe('a command deep in a loop that memory answers', () => {
  beforeAll(() => {
    // Clusters of 512 bytes: millions of steps, none of which waits for anything.
    const small = ['-q', '-f', 'qcow2', '-o', 'cluster_size=512']
    for (const name of ['small.qcow2', 'other.qcow2']) run('dg-img', ['create', ...small, name, '127G'])
    run('dg-img', ['create', ...small, '-b', 'small.qcow2', '-F', 'qcow2', 'over.qcow2'])
  })

  test.each([
    ['diskgraph', ['compare', '--progress=json', 'over.qcow2', 'other.qcow2']],
    ['diskgraph', ['rebase', '--progress=json', '-b', 'other.qcow2', '-F', 'qcow2', 'over.qcow2']],
    ['dg-img', ['bench', '-c', '1000000000', 'small.qcow2']],
    ['dg-img', ['bench', '-w', '-c', '1000000000', '-d', '1', 'other.qcow2']],
    ['dg-img', ['convert', '-p', '-O', 'raw', 'over.qcow2', 'o.raw']],
    ['dg-img', ['convert', '-p', '-n', '-O', 'qcow2', 'small.qcow2', 'other.qcow2']],
  ])('ends on a signal: %s %j', async (program, words) => {
    const { code, milliseconds } = await interrupted(program, words, ['SIGTERM'])
    expect(code).toBe(143)
    expect(milliseconds).toBeLessThan(1500)
    if (words.includes('other.qcow2')) expect(run('dg-img', ['check', 'other.qcow2']).status).toBe(0)
  })
})
