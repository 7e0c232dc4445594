import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { dmgImage } from '../../../packages/driver-dmg/test/image.ts'
import { runImg } from '../src/img/main.ts'
import { runIo } from '../src/io/main.ts'
import { runProgram } from '../src/main.ts'
import { runDiskgraph } from '../src/people/main.ts'
import { type CapturedTerminal, capturedTerminal } from './captured-terminal.ts'

/** Data that begins like an image of a format without a driver. */
const foreign = Buffer.concat([Buffer.from('LUKS\xba\xbe\0\x02', 'latin1'), Buffer.alloc(65528)])

let folder = ''
const before = process.cwd()

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'people-'))
  process.chdir(folder)
})

afterEach(() => {
  process.chdir(before)
  rmSync(folder, { recursive: true, force: true })
})

interface Result extends Pick<CapturedTerminal, 'stdout' | 'stderr'> {
  readonly code: number
}

async function run(words: string[], settings: Parameters<typeof capturedTerminal>[1] = {}): Promise<Result> {
  const terminal = capturedTerminal('diskgraph', { forPeople: true, ...settings })
  const code = await runProgram(runDiskgraph, words, terminal)
  return { code, stdout: terminal.stdout, stderr: terminal.stderr }
}

async function image(...words: string[]): Promise<void> {
  const terminal = capturedTerminal()
  expect(await runProgram(runImg, ['create', '-q', ...words], terminal), terminal.stderr).toBe(0)
}

/** The bytes of an image whose bitmap was not stored when its writer ended: the flag in its directory says so. */
function inUse(bytes: Buffer): Buffer {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  // Header extensions begin behind the header; that of bitmaps has the number 0x23852875.
  let at = view.getUint32(100)
  while (view.getUint32(at) !== 0x23852875) at += 8 + Math.ceil(view.getUint32(at + 4) / 8) * 8
  const directory = Number(view.getBigUint64(at + 24))
  view.setUint32(directory + 12, view.getUint32(directory + 12) | 1)
  return bytes
}

describe('advice', () => {
  test.each([
    [['ifno', 'x'], "there is no command 'ifno'", "did you mean 'info'?"],
    [['convret'], "there is no command 'convret'", "did you mean 'convert'?"],
    [['info', '--outptu=json', 'x'], "unrecognized option '--outptu=json'", "did you mean '--output'?"],
    [
      ['create', '-o', 'cluster_siz=4k', 'x.qcow2', '1M'],
      "x.qcow2: Invalid parameter 'cluster_siz'",
      "did you mean 'cluster_size'?",
    ],
    [
      ['info', '--image-opts', 'driver=qcow2,file.driver=null-co,lazy-refcount=on'],
      "Could not open 'driver=qcow2,file.driver=null-co,lazy-refcount=on': Block format 'qcow2' does not support the option 'lazy-refcount'",
      "did you mean 'lazy-refcounts'?",
    ],
    [
      ['create', 'x.qcow2'],
      'x.qcow2: Image creation needs a size parameter',
      'a size stands behind the name: diskgraph create x.qcow2 10G',
    ],
    [['create', '-f', 'qcow3', 'x', '1M'], "x: Unknown file format 'qcow3'", "did you mean 'qcow2'?"],
    [
      ['info', 'nbd+unix:///x'],
      "Could not open 'nbd+unix:///x': No valid URL specified",
      'exports are named nbd://HOST[:PORT]/EXPORT and nbd+unix:///EXPORT?socket=PATH',
    ],
    [['info', 'ndb://h/x'], "Could not open 'ndb://h/x': Unknown protocol 'ndb'", "did you mean 'nbd'?"],
    [
      ['info', 'nbds://h/x'],
      "Could not open 'nbds://h/x': Unknown protocol 'nbds'",
      'TLS is an option: --object tls-creds-x509,id=ID,dir=FOLDER,endpoint=client --image-opts driver=nbd,host=HOST,export=EXPORT,tls-creds=ID',
    ],
  ])('%j', async (words, message, hint) => {
    const { code, stderr } = await run(words)
    expect(code).toBe(1)
    expect(stderr).toContain(`diskgraph: ${message}\n`)
    expect(stderr).toContain(`hint: ${hint}\n`)
  })

  test.each([
    ['info', '-f', 'other', 'x'],
    ['create', '-f', 'other', 'x', '1M'],
    ['convert', 'a.raw', 'x.other'],
    ['info', 'other:x'],
  ])('a driver that is installed and not enabled: %s %s %s', async (...words) => {
    await image('a.raw', '1M')
    const line = words.join(' ')
    expect((await run(words)).stderr).not.toContain('installed')
    const installed = fileURLToPath(new URL('../node_modules/diskgraph-driver-other', import.meta.url))
    mkdirSync(installed, { recursive: true })
    try {
      writeFileSync(join(installed, 'package.json'), '{"exports":"./index.js"}')
      expect((await run(words)).stderr).toContain(
        `hint: the driver 'other' is installed, but not enabled: diskgraph --driver other ${line}\n`,
      )
    } finally {
      rmSync(installed, { recursive: true })
    }
  })

  test('hints of the library and of QEMU speak of this program', async () => {
    await image('-f', 'qcow2', 'a.qcow2', '1M')
    await image('-f', 'qcow2', '-b', 'a.qcow2', '-F', 'qcow2', 'b.qcow2')
    const { stderr } = await run(['bitmap', '--add', 'a.qcow2', 'old'])
    expect(stderr).toBe('')
    writeFileSync('a.qcow2', inUse(readFileSync('a.qcow2')))
    expect((await run(['bitmap', '--enable', 'a.qcow2', 'old'])).stderr).toContain(
      "hint: 'diskgraph bitmap --remove FILE BITMAP' deletes it\n",
    )
    expect((await run(['convert', '--bitmaps', 'a.qcow2', 'c.qcow2'])).stderr).toContain(
      "or use 'diskgraph bitmap --remove'",
    )
  })

  test('bitmaps that a conversion leaves out are told, as long as nobody asked for silence', async () => {
    await image('-f', 'qcow2', 'a.qcow2', '1M')
    for (const name of ['one', 'two']) await run(['bitmap', '--add', 'a.qcow2', name])
    const told = "diskgraph: not copied: bitmap 'one', 'two' (--bitmaps copies them, to qcow2)\n"
    expect((await run(['convert', 'a.qcow2', 'b.raw'])).stderr).toContain(told)
    expect((await run(['convert', '-q', 'a.qcow2', 'c.raw'])).stderr).not.toContain('not copied')
    expect((await run(['convert', '--bitmaps', 'a.qcow2', 'd.qcow2'])).stderr).not.toContain('not copied')
    const plain = capturedTerminal()
    expect(await runProgram(runImg, ['convert', 'a.qcow2', 'e.raw'], plain)).toBe(0)
    expect(plain.stderr).toBe('')
  })

  test('-o help tells the values of a word, and dg-img what qemu-img tells', async () => {
    const words = ['create', '-f', 'qcow2', '-o', 'help']
    const line = '  compression_type=<str> - Compression method used for image cluster compression'
    expect((await run(words)).stdout).toContain(`${line} (zlib, zstd)\n`)
    expect((await run(words)).stdout).toContain('(allowed values: off, metadata, falloc, full)\n')
    const plain = capturedTerminal()
    expect(await runProgram(runImg, words, plain)).toBe(0)
    expect(plain.stdout).toContain(`${line}\n`)
  })

  test('a backing file without its format repeats the line with it', async () => {
    await image('-f', 'qcow2', 'base', '1M')
    expect((await run(['create', '-b', 'base', 'new.qcow2'])).stderr).toBe(
      'diskgraph: new.qcow2: Backing file specified without backing format\n' +
        'hint: say it with -F: diskgraph create -F qcow2 -b base new.qcow2\n',
    )
  })

  test('raw data with the signature of a format repeats the line with -f raw', async () => {
    writeFileSync('a b', foreign)
    expect((await run(['map', 'a b'])).stderr).toContain(": diskgraph map -f raw 'a b'\n")
  })

  test('an option in front of the command', async () => {
    expect((await run(['--progres=json', 'info'])).stderr).toContain("hint: did you mean '--progress'?\n")
  })

  test('a wrong command line shows the way to the help of its command', async () => {
    expect((await run(['info'])).stderr).toContain("Try 'diskgraph info --help' for more information\n")
  })

  test('an alias stands for a format', async () => {
    expect((await run(['create', '-f', 'img', 'a.img', '1M'])).stdout).toBe('Created a.img: raw, 1 MiB\n')
    expect((await run(['create', '-fvhd', 'a.vhd', '1M'])).stdout).toContain('Created a.vhd: vpc, ')
  })
})

describe('colours', () => {
  test('are shown where the terminal has them, and --no-color turns them off', async () => {
    await image('a.img', '1M')
    expect((await run(['info', 'a.img'], { color: true })).stdout).toContain('\x1b[')
    expect((await run(['info', '--no-color', 'a.img'], { color: true })).stdout).not.toContain('\x1b[')
    expect((await run(['info', 'a.img'])).stdout).not.toContain('\x1b[')
  })

  test('leave JSON alone', async () => {
    await image('a.img', '1M')
    const { stdout } = await run(['info', '--output=json', 'a.img'], { color: true })
    expect(JSON.parse(stdout)).toMatchObject({ 'virtual-size': 1048576 })
  })
})

describe('progress', () => {
  test('is JSON lines on standard error where that is asked for', async () => {
    await image('a.img', '1M')
    const { stdout, stderr } = await run(['compare', '--progress=json', 'a.img', 'a.img'])
    expect(stdout).toBe('Images are identical.\n')
    const lines = stderr
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    expect(lines.every(({ progress }) => progress === 'compare')).toBe(true)
    expect(lines.at(-1)).toEqual({ progress: 'compare', ended: 'ok', exitCode: 0 })
    expect(lines.at(-2)).toMatchObject({ percent: 100 })
  })

  test('ends with a line that says what went wrong, below the message', async () => {
    const { code, stderr } = await run(['info', '--progress=json', 'nofile'])
    expect(code).toBe(1)
    const [message, last] = stderr.trimEnd().split('\n') as [string, string]
    expect(message).toBe("diskgraph: Could not open 'nofile': No such file or directory")
    expect(JSON.parse(last)).toEqual({
      progress: 'info',
      ended: 'error',
      exitCode: 1,
      message: message.slice('diskgraph: '.length),
    })
  })

  test('ends well when an exit code says what was found', async () => {
    await image('a.img', '1M')
    writeFileSync('b.img', Buffer.alloc(1048576, 1))
    const { code, stderr } = await run(['compare', '--progress=json', 'a.img', 'b.img'])
    expect(code).toBe(1)
    expect(JSON.parse(stderr.trimEnd().split('\n').at(-1) as string)).toMatchObject({ ended: 'ok', exitCode: 1 })
  })

  test('of an unknown kind is a usage error', async () => {
    expect((await run(['compare', '--progress=loud', 'a', 'b'])).stderr).toContain(
      '--progress is one of auto, json, none',
    )
  })
})

describe('a name says the format', () => {
  beforeEach(() => image('a.raw', '1M'))

  test.each([
    ['b.qcow2', 'qcow2'],
    ['b.IMG', 'raw'],
  ])('of the target %s, which is told: %s', async (name, format) => {
    const { code, stdout } = await run(['convert', 'a.raw', name])
    expect(code).toBe(0)
    expect(stdout).toBe(`Target format: ${format}, from the name '${name}' (-O FORMAT says otherwise)\n`)
    expect((await run(['info', '-f', format, name])).stdout).toContain(`file format: ${format}\n`)
    expect((await run(['convert', '-q', 'a.raw', name])).stdout).toBe('')
  })

  test('unless -O does', async () => {
    expect((await run(['convert', '-O', 'raw', 'a.raw', 'b.qcow2'])).stdout).toBe('')
    expect((await run(['info', 'b.qcow2'])).stdout).toContain('file format: raw\n')
  })

  test.each(['b', 'b.xyz', '.qcow2', 'b.file'])('or is refused: %s', async (name) => {
    const { code, stderr } = await run(['convert', 'a.raw', name])
    expect(code).toBe(1)
    expect(stderr).toBe(
      `diskgraph: cannot tell the format of '${name}' from its name\n` +
        `hint: say it with -O (cow, luks, parallels, qcow, qcow2, qed, raw, vdi, vhdx, vmdk, vpc): diskgraph convert -O raw a.raw ${name}\n`,
    )
    expect(readdirSync('.')).toEqual(['a.raw'])
  })

  test('of a driver that is enabled, too', async () => {
    const code =
      "export const x = { name: 'other', kind: 'format', description: '', options: {}, open: async () => {} }"
    writeFileSync('driver.mjs', code)
    const { stdout, stderr } = await run(['--driver', './driver.mjs', 'convert', 'a.raw', 'b.other'])
    expect(stdout).toContain('Target format: other,')
    expect(stderr).toContain("Format driver 'other' does not support image creation")
  })

  test('of a new image, which is raw where the name says nothing', async () => {
    expect((await run(['create', 'n.qcow2', '1M'])).stdout).toBe('Created n.qcow2: qcow2, 1 MiB\n')
    expect((await run(['create', 'n', '1M'])).stdout).toBe('Created n: raw, 1 MiB\n')
    const { code, stderr } = await run(['create', 'n.xyz', '1M'])
    expect([code, readdirSync('.').includes('n.xyz')]).toEqual([1, false])
    expect(stderr).toContain(
      'say it with -f (cow, luks, parallels, qcow, qcow2, qed, raw, vdi, vhdx, vmdk, vpc): diskgraph create -f raw n.xyz 1M\n',
    )
    expect((await run(['create', '-f', 'raw', 'n.qcow2', '1M'])).stdout).toBe('Created n.qcow2: raw, 1 MiB\n')
  })
})

describe('tree', () => {
  test('draws a chain with sizes', async () => {
    await image('-f', 'qcow2', 'base.qcow2', '64M')
    await image('-f', 'qcow2', '-b', 'base.qcow2', '-F', 'qcow2', 'top.qcow2', '1G')
    const { code, stdout } = await run(['tree', 'top.qcow2'])
    expect(code).toBe(0)
    expect(stdout.split('\n')[0]).toMatch(/^top\.qcow2 +qcow2 +1 GiB +\d+ KiB on disk$/)
    expect(stdout.split('\n')[1]).toMatch(/^└─ base\.qcow2 +qcow2 +64 MiB +\d+ KiB on disk$/)
  })

  test('shows what is missing, and where a chain loops', async () => {
    await image('-u', '-f', 'qcow2', '-b', 'nofile', '-F', 'raw', 'a.qcow2', '1M')
    await image('-u', '-f', 'qcow2', '-b', 'two.qcow2', '-F', 'qcow2', 'one.qcow2', '1M')
    await image('-u', '-f', 'qcow2', '-b', 'one.qcow2', '-F', 'qcow2', 'two.qcow2', '1M')
    const missing = await run(['tree', 'a.qcow2'])
    expect(missing.stdout).toContain('✗ No such file or directory')
    expect(missing.code).toBe(1)
    const loop = await run(['tree', 'one.qcow2'])
    expect(loop.stdout).toContain('✗ the chain loops: this image is above already')
    expect(loop.code).toBe(1)
  })

  test('is JSON where that is asked for', async () => {
    await image('-f', 'qcow2', 'base.qcow2', '64M')
    await image('-f', 'qcow2', '-b', 'base.qcow2', '-F', 'qcow2', 'top.qcow2')
    const { stdout } = await run(['tree', '--json', 'top.qcow2'])
    expect(JSON.parse(stdout)).toMatchObject({ name: 'top.qcow2', below: [{ name: 'base.qcow2', role: 'backing' }] })
  })

  test('shows a data file, also one that is missing, and below a backing file', async () => {
    mkdirSync('sub')
    process.chdir('sub')
    await image('-f', 'qcow2', '-o', 'data_file=a:b.raw', 'base.qcow2', '1M')
    process.chdir('..')
    await image('-f', 'qcow2', '-b', 'sub/base.qcow2', '-F', 'qcow2', 'top.qcow2')
    const data = { name: expect.stringMatching(/a:b\.raw$/), role: 'data-file', format: 'raw', below: [] }
    const whole = await run(['tree', '--json', 'top.qcow2'])
    expect(whole.code).toBe(0)
    expect(JSON.parse(whole.stdout)).toMatchObject({ below: [{ name: 'sub/base.qcow2', below: [data] }] })
    rmSync('sub/a:b.raw')
    const missing = await run(['tree', 'top.qcow2'])
    expect(missing.code).toBe(1)
    expect(missing.stdout).toMatch(/data-file: \S*a:b\.raw +raw +✗ No such file or directory/)
  })
})

describe('inspect --untrusted', () => {
  async function inspect(...words: string[]): Promise<{ code: number; report: Record<string, unknown> }> {
    const { code, stdout } = await run(['inspect', '--untrusted', '--json', ...words])
    return { code, report: JSON.parse(stdout) as Record<string, unknown> }
  }

  test('an image that stands alone is safe', async () => {
    await image('-f', 'qcow2', 'a.qcow2', '64M')
    const { code, report } = await inspect('a.qcow2')
    expect(report).toMatchObject({ verdict: 'safe', format: 'qcow2', signatures: ['qcow2'], references: [] })
    expect(code).toBe(0)
  })

  test('a backing file is named and not opened', async () => {
    await image('-u', '-f', 'qcow2', '-b', '/dev/tty', '-F', 'raw', 'a.qcow2', '1M')
    const { code, report } = await inspect('a.qcow2')
    expect(code).toBe(2)
    expect(report).toMatchObject({
      verdict: 'unsafe',
      reasons: ["it refers to another file: backing file '/dev/tty'"],
      references: [{ kind: 'backing file', filename: '/dev/tty', format: 'raw' }],
    })
  })

  test('an encrypted image is judged without its key', async () => {
    const secret = ['--object', 'secret,id=s,data=abcdef']
    await image('-f', 'luks', ...secret, '-o', 'key-secret=s,iter-time=10', 'a.luks', '1M')
    const encryption = 'encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10'
    await image('-f', 'qcow2', ...secret, '-o', encryption, 'a.qcow2', '1M')
    for (const name of ['a.luks', 'a.qcow2']) {
      expect((await inspect(name)).report).toMatchObject({ verdict: 'safe', reasons: [], references: [] })
    }
  })

  test('an image whose data stands elsewhere is unsafe, and the other file is named', async () => {
    await image('-f', 'vmdk', '-o', 'subformat=monolithicFlat', 'a.vmdk', '1M')
    await image('-f', 'qcow2', '-o', 'data_file=a.data', 'a.qcow2', '1M')
    expect((await inspect('a.vmdk')).report).toMatchObject({
      format: 'vmdk',
      reasons: ["it refers to another file: extent 'a-flat.vmdk'"],
      references: [{ kind: 'extent', filename: 'a-flat.vmdk' }],
    })
    expect((await inspect('a.qcow2')).report).toMatchObject({
      reasons: ["it refers to another file: data file 'a.data'"],
      references: [{ kind: 'data file', filename: 'a.data' }],
    })
  })

  test('a file that is two things at once is unsafe', async () => {
    await image('-f', 'qcow2', 'a.qcow2', '1M')
    const { readFileSync } = await import('node:fs')
    const trailer = Buffer.alloc(512)
    trailer.write('conectix')
    writeFileSync('two', Buffer.concat([readFileSync('a.qcow2'), trailer]))
    const { code, report } = await inspect('two')
    expect(code).toBe(2)
    expect(report.reasons).toEqual(['it looks like qcow2 and vpc at once'])
  })

  test('the first chunk of a dmg may be an xz stream', async () => {
    const kind = 0x80000008
    const content = new Uint8Array(4096)
    const stored = Buffer.concat([Buffer.from('\xfd7zXZ\0', 'latin1'), Buffer.alloc(506)])
    const { bytes } = dmgImage([[{ kind, content, stored }]], 'property list')
    writeFileSync('a.dmg', bytes)
    const { code, report } = await inspect('a.dmg')
    expect([code, report.reasons, report.signatures]).toEqual([0, [], ['dmg', 'xz']])
    writeFileSync('two', Buffer.concat([Buffer.from('QFI\xfb', 'latin1'), bytes.subarray(4)]))
    expect((await inspect('two')).code).toBe(2)
  })

  test('takes files of this machine alone, as its help says', async () => {
    for (const name of ['http://host/disk.qcow2', 'json:{"driver":"null-co"}']) {
      const { code, stderr } = await run(['inspect', name])
      expect(code).toBe(1)
      expect(stderr).toContain("hint: 'inspect' looks at files of this machine alone")
    }
    const { stdout } = await run(['inspect', '--help'])
    expect(stdout).toMatch(/PATH +a file of this machine; no name with a protocol/)
    expect(stdout).not.toContain('--image-opts')
  })

  test('a format that there is none of is an error, and no verdict', async () => {
    await image('-f', 'qcow2', 'a.qcow2', '1M')
    const { code, stdout, stderr } = await run(['inspect', '-f', 'qcwo2', 'a.qcow2'])
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toContain("Unknown file format 'qcwo2'\n")
    expect(stderr).toContain("hint: did you mean 'qcow2'?\n")
  })

  test('a guessed raw image with the signature of a format is unsafe', async () => {
    writeFileSync('a', foreign)
    expect((await inspect('a')).report.reasons).toEqual([
      expect.stringContaining("it cannot be opened: it has the signature of format 'luks2', whose driver is missing"),
    ])
    expect((await inspect('-f', 'raw', 'a')).report.reasons).toEqual([
      'it is taken for raw, but has the signature of luks2',
    ])
  })

  test('a disk with a partition table is raw and safe', async () => {
    const disk = Buffer.alloc(1048576)
    disk.writeUInt16BE(0x55aa, 510)
    writeFileSync('disk', disk)
    expect((await inspect('disk')).report).toMatchObject({ verdict: 'safe', format: 'raw', signatures: ['mbr'] })
  })

  test('a directory, a loop of links and a missing file are errors', async () => {
    symlinkSync('self', 'self')
    for (const name of ['.', 'self', 'nofile']) {
      const { code, stderr } = await run(['inspect', '--untrusted', name])
      expect(code).toBe(1)
      expect(stderr).toMatch(/^diskgraph: Could not open '.*': .*\n$/)
    }
  })
})

describe('drivers', () => {
  test('lists what each can do, as JSON too', async () => {
    const list = JSON.parse((await run(['drivers', '--json'])).stdout) as { name: string; capabilities: string[] }[]
    const of = (name: string): string[] => list.find((one) => one.name === name)?.capabilities ?? []
    expect(of('qcow2')).toEqual(expect.arrayContaining(['read', 'write', 'create', 'backing', 'check']))
    expect(of('file')).toEqual(expect.arrayContaining(['read', 'write', 'create', 'resize']))
    expect(of('null-co')).not.toContain('create')
    expect((await run(['drivers'])).stdout).toMatch(/^formats .*\n(?:\w.*\n)*qcow2/)
  })
})

describe('tour', () => {
  test('runs to its end and leaves nothing behind', async () => {
    const left = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith('diskgraph-tour-'))
    const had = left()
    const { code, stdout, stderr } = await run(['tour'])
    expect(stderr).toBe('')
    expect(code).toBe(0)
    for (const command of ['create', 'snapshot', 'check', 'convert', 'compare', 'map', 'tree']) {
      expect(stdout).toContain(`$ diskgraph ${command} `)
    }
    expect(left()).toEqual(had)
    expect(process.cwd()).not.toContain('diskgraph-tour-')
  })
})

describe('compact', () => {
  const name = 'disk.qcow2'

  beforeEach(async () => {
    await image('-f', 'qcow2', name, '8M')
    const words = ['-c', 'write 0 4M', '-c', 'flush', '-c', 'discard 0 2M', name]
    expect(await runProgram(runIo, ['-d', 'unmap', ...words], capturedTerminal('dg-io'))).toBe(0)
  })

  test('says how much shorter the file is, and is done once', async () => {
    const before = readFileSync(name).length
    expect(await run(['compact', name])).toEqual({ code: 0, stdout: `Freed 2 MiB of ${name}\n`, stderr: '' })
    expect(before - readFileSync(name).length).toBe(2 * 2 ** 20)
    expect((await run(['check', name])).code).toBe(0)
    expect((await run(['compact', name])).stdout).toBe('There was nothing to free\n')
  })

  test('tells programs what was moved and freed, in bytes', async () => {
    const { stdout } = await run(['compact', '--output=json', name])
    expect(JSON.parse(stdout)).toEqual({ moved: 2 * 2 ** 20, freed: 2 * 2 ** 20 })
  })

  test('refuses formats that have nothing to move', async () => {
    await image('-f', 'raw', 'disk.raw', '1M')
    const { code, stderr } = await run(['compact', '-f', 'raw', 'disk.raw'])
    expect([code, stderr]).toEqual([1, expect.stringContaining("'raw' cannot make its images compact")])
  })
})
