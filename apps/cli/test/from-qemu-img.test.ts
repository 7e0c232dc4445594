/** Every command line of docs/from-qemu-img.md, with the real tool and with ours. */
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { peer } from '@diskgraph/driver-testkit'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { runImg } from '../src/img/main.ts'
import { runProgram } from '../src/main.ts'
import { runDiskgraph } from '../src/people/main.ts'
import { capturedTerminal } from './captured-terminal.ts'
import { Twins } from './compare/twins.ts'
import { splitWords } from './differential.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const page = readFileSync(join(root, 'docs', 'from-qemu-img.md'), 'utf8')

/** The rows below a heading, their cells without the marks of code. */
function rows(heading: string): string[][] {
  const [, text = ''] = page.split(`\n## ${heading}\n`)
  const lines = (text.split('\n## ')[0] as string).split('\n').filter((line) => line.startsWith('|'))
  return lines.slice(2).map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim().replace(/^`(.*)`$/, '$1')),
  )
}

/** Blocks of lines that build on each other. */
const encryption = (page.split('\n## Encryption\n')[1] ?? '').split('\n## ')[0] as string
const blocks = [...encryption.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, block = '']) => block.trim())

const shellLines = [...page.replace(encryption, '').matchAll(/```sh\n([\s\S]*?)```/g)].flatMap(([, block = '']) =>
  block.trim().split('\n'),
)

const images = `
qemu-img create -q -f raw disk.raw 2M
qemu-io -f raw -c 'write -P 7 64k 1M' disk.raw > /dev/null
cp disk.raw other.raw
qemu-io -f raw -c 'write -P 8 1M 512' other.raw > /dev/null
qemu-img convert -f raw -O qcow2 disk.raw disk.qcow2
qemu-img snapshot -c before disk.qcow2
qemu-img create -q -f qcow2 base.qcow2 64M
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 overlay.qcow2
qemu-io -c 'write -P 9 1M 64k' overlay.qcow2 > /dev/null
qemu-img create -q -f qcow2 leaks.qcow2 1M
qemu-io -c 'write -P 9 0 64k' leaks.qcow2 > /dev/null
# The first entry of the only L2 table: nothing refers to the cluster any more.
dd if=/dev/zero of=leaks.qcow2 bs=8 seek=32768 count=1 conv=notrunc status=none
`

peer('qemu-img', { describe, it }).describe('the page for users of qemu-img', () => {
  const twins = new Twins()

  beforeEach(() => twins.prepare(images))
  afterAll(() => twins.remove())

  const people = async (line: string) => {
    const terminal = capturedTerminal('diskgraph', { forPeople: true })
    const before = process.cwd()
    process.chdir(twins.ours)
    try {
      const code = await runProgram(runDiskgraph, splitWords(line), terminal)
      return { code, stdout: terminal.stdout, stderr: terminal.stderr }
    } finally {
      process.chdir(before)
    }
  }

  it('has tables that are found', () => {
    expect(rows('Command lines').length).toBeGreaterThan(15)
    expect(rows('What is refused for safety').length).toBeGreaterThan(2)
    expect(rows('Exit codes').length).toBeGreaterThan(5)
    expect(shellLines.length).toBeGreaterThan(3)
  })

  it.each(rows('Command lines'))('%s: %s is the same in dg-img', async (_, line = '') => {
    const theirs = twins.runTheirs('qemu-img', splitWords(line))
    expect(theirs.code, theirs.stderr).toBe(0)
    expect(await twins.runOurs('qemu-img', runImg, splitWords(line))).toEqual(theirs)
  })

  it.each(rows('Command lines'))('%s: %s is %s in diskgraph', async (_, __, line = '') => {
    expect(await people(line)).toMatchObject({ code: 0, stderr: '' })
  })

  it.each(rows('What is refused for safety'))(
    '%s: qemu-img does it, ours do not',
    async (line = '', theirs = '', reason = '') => {
      const before = readFileSync(join(twins.ours, 'disk.raw'))
      const ours = await twins.runOurs('dg-img', runImg, splitWords(line))
      expect(ours.code).toBe(1)
      expect(ours.stderr).toContain(reason)
      expect((await people(line)).stderr).toContain(reason)
      expect(readFileSync(join(twins.ours, 'disk.raw')).equals(before)).toBe(true)
      expect(twins.runTheirs('qemu-img', splitWords(line)).code).toBe(Number(/; (\d+)$/.exec(theirs)?.[1]))
      const emptied = readFileSync(join(twins.theirs, 'disk.raw')).equals(Buffer.alloc(before.length))
      expect(emptied).toBe(theirs.includes('zeroes'))
    },
  )

  it.each(rows('Exit codes'))('%s has the exit code %s', async (line = '', code) => {
    expect(twins.runTheirs('qemu-img', splitWords(line)).code).toBe(Number(code))
    expect((await twins.runOurs('dg-img', runImg, splitWords(line))).code).toBe(Number(code))
    expect((await people(line)).code).toBe(Number(code))
  })

  /** Runs lines of a shell that finds our programs by their names. */
  const inShell = (lines: string) => {
    const programs = join(twins.ours, 'programs')
    mkdirSync(programs)
    for (const [name, program] of [
      ['diskgraph', 'diskgraph'],
      ['dg-img', 'img'],
      ['dg-io', 'io'],
    ] as const) {
      const path = join(programs, name)
      const tsx = join(root, 'node_modules', 'tsx', 'dist', 'loader.mjs')
      const script = join(root, 'apps', 'cli', 'test', 'program.ts')
      writeFileSync(path, `#!/bin/sh\nexec '${process.execPath}' --import '${tsx}' '${script}' ${program} "$@"\n`)
      chmodSync(path, 0o755)
    }
    const env = {
      ...process.env,
      PATH: `${programs}:${process.env.PATH}`,
      TSX_TSCONFIG_PATH: join(root, 'tsconfig.json'),
    }
    return spawnSync('sh', ['-e', '-c', lines], { cwd: twins.ours, env, encoding: 'utf8', input: '' })
  }

  it.each(shellLines)('works: %s', (line) => {
    const { status, stderr } = inShell(line)
    expect(status, stderr).toBe(0)
  })

  it('makes encrypted images, and changes their passwords, as it says', () => {
    expect(blocks).toHaveLength(2)
    const { status, stderr } = inShell(blocks.join('\n'))
    expect(status, stderr).toBe(0)
    const read = (key: string) => {
      const image = 'driver=qcow2,encrypt.key-secret=k,file.filename=secret.qcow2'
      const words = ['compare', '--object', `secret,id=k,file=${key}`, '--image-opts', image]
      return spawnSync('qemu-img', [...words, 'driver=raw,file.filename=plain.raw'], { cwd: twins.ours })
    }
    expect(read('new-key').stdout.toString()).toBe('Images are identical.\n')
    expect(read('key').stderr.toString()).toContain('Invalid password')
  })
})
