/** Images that are written to standard output in one go, read by other programs. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { peer, Random, randomSeed } from '@diskgraph/driver-testkit'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { runImg } from '../src/img/main.ts'
import { runProgram } from '../src/main.ts'
import { runDiskgraph } from '../src/people/main.ts'
import { capturedTerminal } from './captured-terminal.ts'

const seed = Number(process.env.SEED ?? randomSeed())
const mib = 2 ** 20
let folder = ''
const path = (name: string): string => join(folder, name)

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'streams-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const qemu = peer('qemu-img', { describe, it })
const hasLibvmdk = spawnSync('/usr/bin/python3', ['-c', 'import pyvmdk']).status === 0
const libvmdk = peer(hasLibvmdk ? 'python3' : 'python3 with pyvmdk', { describe, it })

/** A raw file with data, zeroes and holes, and a qcow2 image of it. */
async function source(size: number): Promise<Buffer> {
  const random = new Random(seed)
  const bytes = Buffer.alloc(size)
  for (let i = 0; i < 12; i++) {
    const at = random.below(size / 512) * 512
    const length = Math.min(size - at, 512 * (1 + random.below(1000)))
    for (let j = at; j < at + length; j++) bytes[j] = i % 3 === 0 ? random.below(256) : i + (j >> 12)
  }
  writeFileSync(path('s.raw'), bytes)
  const words = ['convert', '-f', 'raw', '-O', 'qcow2', path('s.raw'), path('s.qcow2')]
  expect(await runProgram(runImg, words, capturedTerminal())).toBe(0)
  return bytes
}

/** What `diskgraph convert` writes to standard output, in a file. */
async function streamed(format: string, options: string, from = 's.qcow2'): Promise<string> {
  const terminal = capturedTerminal('diskgraph', { forPeople: true })
  const words = ['convert', '-O', format, ...(options === '' ? [] : ['-o', options]), path(from), '-']
  expect(await runProgram(runDiskgraph, words, terminal), terminal.stderr).toBe(0)
  writeFileSync(path(`out.${format}`), Buffer.from(terminal.stdout, 'latin1'))
  return path(`out.${format}`)
}

const targets = [
  ['vmdk', 'subformat=streamOptimized'],
  ['qcow2', ''],
  ['qcow2', 'cluster_size=512'],
  ['qcow2', 'compat=v2,cluster_size=4096'],
  ['qcow2', 'refcount_bits=1'],
  ['vpc', 'force_size=on'],
  ['vpc', 'subformat=fixed,force_size=on'],
] as const

describe(`images on standard output (seed ${seed})`, () => {
  for (const size of [12 * mib, 9 * mib + 512]) {
    qemu.it.each(targets)(`are those of a disk of ${size} bytes for qemu-img: %s %s`, async (format, options) => {
      await source(size)
      const file = await streamed(format, options)
      const compared = spawnSync('qemu-img', ['compare', '-f', 'raw', '-F', format, path('s.raw'), file])
      expect(compared.stdout.toString() + compared.stderr.toString()).toBe('Images are identical.\n')
      if (format === 'vpc') return
      const checked = spawnSync('qemu-img', ['check', '-f', format, file])
      expect([checked.status, checked.stderr.toString()]).toEqual([0, ''])
    })
  }

  it.each(targets)('are made without a temporary file: %s %s', async (format, options) => {
    const bytes = await source(6 * mib)
    const temporary = process.env.TMPDIR
    process.env.TMPDIR = path('there-is-none')
    try {
      const file = await streamed(format, options)
      const words = ['compare', '-q', '-f', 'raw', '-F', format, path('s.raw'), file]
      expect(await runProgram(runImg, words, capturedTerminal())).toBe(0)
      expect(bytes.length).toBe(6 * mib)
    } finally {
      if (temporary === undefined) delete process.env.TMPDIR
      else process.env.TMPDIR = temporary
    }
  })

  libvmdk.it('are read by libvmdk', async () => {
    const bytes = await source(40 * mib)
    const file = await streamed('vmdk', 'subformat=streamOptimized')
    const program = `
import pyvmdk, sys
h = pyvmdk.handle()
h.open(sys.argv[1])
h.open_extent_data_files()
out = sys.stdout.buffer
while True:
    data = h.read_buffer(1048576)
    if not data: break
    out.write(data)
`
    // It looks for its extent by the name in the descriptor.
    const named = join(folder, 'disk.vmdk')
    spawnSync('cp', [file, named])
    const { stdout, stderr } = spawnSync('/usr/bin/python3', ['-c', program, named], { maxBuffer: 2 * bytes.length })
    expect(stderr.toString()).toBe('')
    expect(stdout.equals(bytes)).toBe(true)
  })

  it('of an empty disk are whole', async () => {
    writeFileSync(path('s.raw'), '')
    for (const [format, options] of targets) {
      const file = await streamed(format, options, 's.raw')
      const terminal = capturedTerminal()
      expect(await runProgram(runImg, ['info', '-f', format, file], terminal), terminal.stderr).toBe(0)
    }
  })
})
