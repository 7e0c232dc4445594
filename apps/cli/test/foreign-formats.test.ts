/** Images of formats that have no driver here: real ones, and headers changed at random, judged by the real tool. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { runImg } from '../src/img/main.ts'
import { runIo } from '../src/io/main.ts'
import { type Program, runProgram } from '../src/main.ts'
import { runDiskgraph } from '../src/people/main.ts'
import { capturedTerminal } from './captured-terminal.ts'

const hasQemu = process.env.DISKGRAPH_REQUIRE_PEERS === '1' || existsSync('/usr/bin/qemu-img')
const before = process.cwd()
let folder = ''

/** The starts of formats that have no driver here. */
const foreign: readonly (readonly [filename: string, format: string, head: string])[] = [
  ['a.luks2', 'luks2', 'LUKS\xba\xbe\0\x02'],
]

/** Formats whose images the real tool makes, and knows by their starts. */
const known = ['qcow', 'qcow2', 'qed', 'vdi', 'vmdk', 'vpc', 'vhdx', 'parallels'] as const

async function run(program: Program, ...words: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const terminal = capturedTerminal(program === runImg ? 'dg-img' : 'diskgraph', {
    forPeople: program === runDiskgraph,
  })
  const code = await runProgram(program, words, terminal)
  return { code, stdout: terminal.stdout, stderr: terminal.stderr }
}

describe.skipIf(!hasQemu)('an image of a format without a driver', () => {
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'foreign-'))
    process.chdir(folder)
    for (const [filename, , head] of foreign) writeFileSync(filename, head.padEnd(8192, '\0'), 'latin1')
  })
  afterAll(() => {
    process.chdir(before)
    rmSync(folder, { recursive: true, force: true })
  })

  const all = foreign.map(([name, format]) => [name, format] as const)

  test.each(all)('is not taken for raw by any command: %s', async (filename, format) => {
    const reason =
      `it has the signature of format '${format}', whose driver is missing; ` +
      'to take it for raw data, give that format: -f raw'
    const content = readFileSync(filename)
    for (const words of [
      ['convert', '-O', 'qcow2', filename, 'out'],
      ['info', filename],
      ['map', filename],
      ['measure', '-O', 'qcow2', filename],
      ['compare', filename, filename],
      ['dd', `if=${filename}`, 'of=out'],
      ['check', filename],
      ['resize', filename, '+1M'],
      ['snapshot', '-l', filename],
      ['amend', '-o', 'compat=v3', filename],
      ['bench', '-c', '1', filename],
    ]) {
      const { code, stderr } = await run(runImg, ...words)
      expect(code, words.join(' ')).toBeGreaterThan(0)
      expect(stderr, words.join(' ')).toContain(`dg-img: Could not open '${filename}': ${reason}\n`)
    }
    expect((await run(runIo, '-c', 'write 0 512', filename)).stderr).toContain(reason)
    expect(existsSync('out')).toBe(false)
    expect(readFileSync(filename).equals(content)).toBe(true)
  })

  test.each(all)('is not taken for a raw backing file either: %s', async (filename, format) => {
    spawnSync('qemu-img', ['create', '-q', '-u', '-f', 'qcow2', '-b', filename, '-F', 'raw', 'overlay.qcow2', '1M'])
    spawnSync('qemu-img', ['amend', '-f', 'qcow2', '-o', 'backing_fmt=', 'overlay.qcow2'])
    forgetBackingFormat('overlay.qcow2')
    const { code, stderr } = await run(runImg, 'convert', '-O', 'raw', 'overlay.qcow2', 'out')
    expect(code).toBe(1)
    expect(stderr).toContain(`format '${format}'`)
    expect(existsSync('out')).toBe(false)
    const created = await run(runImg, 'create', '-f', 'qcow2', '-b', filename, 'new.qcow2')
    expect(created.stderr).toContain(`format '${format}'`)
    await run(runImg, 'create', '-q', '-f', 'qcow2', 'plain.qcow2', '1M')
    const rebased = await run(runImg, 'rebase', '-b', filename, 'plain.qcow2')
    expect(rebased.stderr).toContain(`format '${format}'`)
  })

  test.each(all)('is raw data where that is said: %s', async (filename) => {
    expect(await run(runImg, 'convert', '-f', 'raw', '-O', 'raw', filename, 'raw-copy')).toMatchObject({ code: 0 })
    const size = Math.ceil(statSync(filename).size / 512) * 512
    expect(statSync('raw-copy').size).toBe(size)
    rmSync('raw-copy')
  })

  test.each(all)('is not safe: %s', async (filename, format) => {
    const { code, stdout } = await run(runDiskgraph, 'inspect', '--untrusted', '--json', filename)
    expect(code).toBe(2)
    expect(JSON.parse(stdout)).toMatchObject({ verdict: 'unsafe' })
    expect(JSON.parse(stdout).reasons.join()).toContain(`'${format}'`)
  })

  test('is not raw where its header is cut off', async () => {
    writeFileSync('short', 'WithouFreSpacExt\x02\0\0\0')
    const { code, stderr } = await run(runImg, 'info', 'short')
    expect([code, stderr]).toEqual([1, expect.stringContaining("Could not open 'short'")])
  })

  test('is never raw where the real tool takes its header for more than that', { timeout: 120_000 }, async () => {
    const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31)
    const random = randomOf(seed)
    const starts = known.map((format) => {
      const { status, stderr } = spawnSync('qemu-img', ['create', '-q', '-f', format, 'made', '1M'])
      expect(`${status} ${stderr}`).toBe('0 ')
      return readFileSync('made').subarray(0, 4096)
    })
    const wrong: string[] = []
    for (let i = 0; i < 150; i++) {
      const head = mutated(starts[Math.floor(random() * starts.length)] as Buffer, random)
      writeFileSync('mutated', head)
      const theirs = spawnSync('qemu-img', ['info', '--output=json', 'mutated'], { encoding: 'utf8' })
      if (theirs.status === 0 && JSON.parse(theirs.stdout).format === 'raw') continue
      const ours = await run(runImg, 'info', '--output=json', 'mutated')
      if (ours.code === 0 && JSON.parse(ours.stdout).format === 'raw') wrong.push(head.subarray(0, 160).toString('hex'))
    }
    expect(wrong, `SEED=${seed}`).toEqual([])
  })
})

describe.skipIf(!hasQemu)('a qcow2 image', () => {
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'foreign-'))
    process.chdir(folder)
    const create = (...words: string[]): void => {
      // Beside other work qemu-img now and then fails to measure how long a password is to be tried.
      for (let attempt = 0; attempt < 20; attempt++) {
        const { status, stderr } = spawnSync('qemu-img', ['create', '-q', '-f', 'qcow2', ...words], {
          encoding: 'utf8',
        })
        if (status === 0) return
        expect(stderr).toContain('Unable to get accurate CPU usage')
      }
      throw new Error('qemu-img measures nothing')
    }
    mkdirSync('elsewhere')
    create('plain.qcow2', '1M')
    create('-o', 'compat=0.10', 'old.qcow2', '1M')
    create('-o', 'data_file=elsewhere/passwd,size=1M', 'data.qcow2')
    create('-o', 'data_file=x.raw,data_file_raw=on,size=1M', 'data-raw.qcow2')
    create('-u', '-b', 'base', '-F', 'raw', 'overlay.qcow2', '1M')
    for (const method of ['aes', 'luks']) {
      const secret = ['--object', 'secret,id=s,data=password', '-o', `encrypt.format=${method},encrypt.key-secret=s`]
      create(...secret, `${method}.qcow2`, '1M')
    }
    const data = readFileSync('data.qcow2')
    const extension = data.indexOf('DATA')
    const change = (filename: string, work: (content: Buffer) => void, source = data): void => {
      const content = Buffer.from(source)
      work(content)
      writeFileSync(filename, content)
    }
    change('data-without-name.qcow2', (content) => content.writeUInt32BE(0x12345678, extension))
    change('name-without-data.qcow2', (content) => content.writeUInt32BE(0, 76))
    const plain = readFileSync('plain.qcow2')
    change('unknown-feature.qcow2', (content) => content.writeUInt32BE(64, 76), plain)
    change('version-4.qcow2', (content) => content.writeUInt32BE(4, 4), plain)
    change('long-header.qcow2', (content) => content.writeUInt32BE(0x7fffff00, 116), plain)
  })
  afterAll(() => {
    process.chdir(before)
    rmSync(folder, { recursive: true, force: true })
  })

  test.each([
    ['data.qcow2', "it refers to another file: data file 'elsewhere/passwd'"],
    ['data-raw.qcow2', "it refers to another file: data file 'x.raw'"],
    ['data-without-name.qcow2', 'its data stands in another file'],
    ['name-without-data.qcow2', "it refers to another file: data file 'elsewhere/passwd'"],
    ['overlay.qcow2', "it refers to another file: backing file 'base'"],
    ['unknown-feature.qcow2', 'it cannot be opened'],
    ['version-4.qcow2', 'it cannot be opened'],
    ['long-header.qcow2', ''],
  ])('is not safe: %s', async (filename, reason) => {
    const { code, stdout } = await run(runDiskgraph, 'inspect', '--untrusted', '--json', filename)
    expect(code).toBe(2)
    expect(JSON.parse(stdout).reasons.join('\n')).toContain(reason)
  })

  test.each(['plain.qcow2', 'old.qcow2', 'aes.qcow2', 'luks.qcow2'])('is safe: %s', async (filename) => {
    expect((await run(runDiskgraph, 'inspect', '--untrusted', filename)).code).toBe(0)
  })
})

/** Takes the header extension with the backing format out of a qcow2 image. */
function forgetBackingFormat(filename: string): void {
  const content = readFileSync(filename)
  const at = content.indexOf(Buffer.from('e2792aca', 'hex'))
  if (at > 0) content.writeUInt32BE(0x12345678, at)
  writeFileSync(filename, content)
}

function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

/** Lines that a descriptor may have in front, and bytes changed behind the magic number or anywhere. */
function mutated(start: Buffer, random: () => number): Buffer {
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T
  let content = Buffer.from(start)
  if (start[0] === 0x23) {
    const lines = content.toString('latin1').split('\n')
    if (random() < 0.7) lines.shift()
    while (random() < 0.6)
      lines.unshift(pick(['#', '# a', '  ', ' ', '', '\t', '# \0', 'version=1', 'version=2', 'CID=1']))
    content = Buffer.from(lines.join(pick(['\n', '\n', '\r\n'])), 'latin1')
  }
  for (let count = Math.floor(random() * 4); count > 0; count--) {
    content[Math.floor(random() * (random() < 0.5 ? 80 : content.length))] = pick([0, 1, 2, 3, 255, 10, 32])
  }
  return random() < 0.3 ? content.subarray(0, Math.max(1, Math.floor(random() * 600))) : content
}
