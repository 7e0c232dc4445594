import { spawn, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const packageFolder = fileURLToPath(new URL('..', import.meta.url))
/** Inside the package, so that koffi is found from there. */
const built = join(packageFolder, 'node_modules', '.cache', `programs-test-${process.pid}`)
let folder = ''

beforeAll(() => {
  const tsup = fileURLToPath(new URL('../../../node_modules/tsup/dist/cli-default.js', import.meta.url))
  const result = spawnSync(process.execPath, [tsup, '--silent', '--out-dir', join(built, 'dist')], {
    cwd: packageFolder,
    encoding: 'utf8',
  })
  if (result.status !== 0) throw new Error(`the programs cannot be built: ${result.stdout}${result.stderr}`)
  cpSync(join(packageFolder, 'bin'), join(built, 'bin'), { recursive: true })
  folder = mkdtempSync(join(tmpdir(), 'programs-'))
})

afterAll(() => {
  rmSync(built, { recursive: true, force: true })
  rmSync(folder, { recursive: true, force: true })
})

function run(program: string, words: readonly string[], options: { cwd?: string; input?: string } = {}) {
  const script = program.includes('/') ? program : join(built, 'bin', `${program}.js`)
  return spawnSync(process.execPath, [script, ...words], { cwd: folder, encoding: 'utf8', timeout: 30_000, ...options })
}

/** Runs a line of the shell, in which `$DG_IMG` and `$DISKGRAPH` are the programs. */
function shell(line: string) {
  const of = (name: string): string => `'${process.execPath}' '${join(built, 'bin', `${name}.js`)}'`
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
    symlinkSync(join(built, 'bin', 'dg-img.js'), link)
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
    const { stderr } = spawnSync(process.execPath, [join(built, 'bin', 'dg-img.js'), 'info', 'b.qcow2'], {
      cwd: folder,
      encoding: 'utf8',
      env: { ...process.env, NODE_DEBUG: 'esm' },
    })
    const loaded = [...stderr.matchAll(/Translating (?:StandardModule|BuiltinModule) (\S+)/g)].map(
      ([, url]) => url as string,
    )
    expect(loaded.length).toBeGreaterThan(3)
    expect(loaded.filter((url) => url.startsWith('file:')).length).toBeLessThan(14)
    expect(loaded).not.toContain('node:http')
    expect(loaded).not.toContain('node:https')
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
    const child = spawn(process.execPath, [join(built, 'bin', 'diskgraph.js'), ...words], { cwd: folder })
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
    const child = spawn(process.execPath, [join(built, 'bin', 'diskgraph.js'), ...words], { cwd: folder })
    const code = await new Promise<number | null>((resolve) => {
      child.stderr.once('data', () => child.kill('SIGINT'))
      child.on('close', resolve)
    })
    expect(code).toBe(130)
    expect(existsSync(join(folder, 'target.qcow2'))).toBe(false)
  })
})
