import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Graph, type OpenSettings } from '@diskgraph/core'
import { file } from '@diskgraph/driver-file'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { conformance, MemoryFiles, peer, runTool } from '@diskgraph/driver-testkit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const password = 'canary-of-the-secret'
const qemu = peer('qemu-img', { describe, it })
const light = { cipherAlg: 'aes-128', cipherMode: 'cbc', iterTime: 0 } as const
const formats = ['aes', 'luks'] as const

for (const format of formats) {
  const settings = format === 'aes' ? {} : light
  await conformance({
    test: { describe, it: (title, work) => it(title, work, 240_000) },
    driver: qcow2,
    secrets: { key: password },
    operations: 100,
    createOptions: { clusterSize: 4096, encrypt: { format, keySecret: 'key', ...settings } },
    options: { discard: 'unmap', encrypt: { keySecret: 'key' } },
  })
}

const storage = { driver: 'testkit-file', name: 'image' }

async function image(format: 'aes' | 'luks', more: object = {}) {
  const files = new MemoryFiles()
  files.put('image')
  const secrets = { key: password, other: 'other' }
  const graph = () => new Graph({ drivers: [qcow2, files.driver], secrets, onWarning: () => undefined })
  await using maker = graph()
  const encrypt = { format, keySecret: 'key', ...(format === 'aes' ? {} : light) }
  await maker.createUnchecked({ driver: 'qcow2', size: 2 ** 20, file: storage, encrypt, ...more })
  const open = (options: object = { encrypt: { keySecret: 'key' } }, how: OpenSettings = {}) =>
    graph().addUnchecked({ driver: 'qcow2', file: storage, ...options }, how)
  return { files, open }
}

describe.each(formats)('an image encrypted as %s', (format) => {
  it('stores nothing in clear, not even zeroes or the edges of clusters', async () => {
    const { open, files } = await image(format)
    const disk = await open()
    const before = files.file('image').size
    await disk.write(70_000, new Uint8Array(100_000).fill(0x5a))
    await disk.writeZeroes(100_000, 5000)
    await disk.close()
    const stored = new Uint8Array(files.file('image').size)
    files.file('image').read(0, stored)
    const bytes = Buffer.from(stored)
    expect(bytes.includes(Buffer.alloc(16, 0x5a))).toBe(false)
    expect(bytes.includes(password)).toBe(false)
    // Behind what was there before are an L2 table and two clusters of data, of which none is zero anywhere.
    const data = bytes.subarray(before)
    const holes = Array.from({ length: data.length / 512 }, (_, i) => data.subarray(i * 512, i * 512 + 512)).filter(
      (sector) => sector.every((byte) => byte === 0),
    )
    expect(data.length - holes.length * 512).toBeGreaterThanOrEqual(2 * 65536)
    const again = await open()
    const buf = new Uint8Array(110_000)
    await again.read(65_000, buf)
    expect(buf.subarray(5000, 35_000).every((byte) => byte === 0x5a)).toBe(true)
    expect(buf.subarray(35_000, 40_000).every((byte) => byte === 0)).toBe(true)
    expect(buf.subarray(105_000).every((byte) => byte === 0)).toBe(true)
  })

  it('does not become version 2 where zeroes would have to be written over a backing file', async () => {
    const { open, files } = await image(format, {
      backingFile: 'json:{"driver": "null-co", "size": 1048576}',
      backingFmt: 'raw',
    })
    files.put('base').truncate(2 ** 20)
    const backing = { driver: 'testkit-file', name: 'base' }
    const disk = await open({ encrypt: { keySecret: 'key' }, backing })
    await disk.write(0, new Uint8Array(65536).fill(1))
    await disk.writeZeroes(65536, 65536)
    await expect(disk.amend({ options: { compat: '0.10' } })).rejects.toThrow(
      'clusters that read as zeroes over an encrypted image cannot be kept in version 2',
    )
    const buf = new Uint8Array(2 * 65536)
    await disk.read(0, buf)
    expect(buf.every((byte, i) => byte === (i < 65536 ? 1 : 0))).toBe(true)
    expect(await disk.check({})).toMatchObject({ corruptions: 0, leaks: 0 })
  })

  it('opens with its secret only', async () => {
    const { open } = await image(format)
    await expect(open({})).rejects.toThrow("Parameter 'encrypt.key-secret' is required for cipher")
    await expect(open({ encrypt: { keySecret: 'none' } })).rejects.toThrow("No secret with id 'none'")
    const wrong = format === 'aes' ? 'luks' : 'aes'
    await expect(open({ encrypt: { keySecret: 'key', format: wrong } })).rejects.toThrow(
      `Header reported '${format}' encryption format but options specify '${wrong}'`,
    )
  })

  it('is told of without its secret, and not read', async () => {
    const { open } = await image(format)
    const disk = await open({}, { inspect: true })
    expect(await disk.info()).toMatchObject({ encrypted: true, specific: { data: { encrypt: { format } } } })
    await expect(disk.read(0, new Uint8Array(512))).rejects.toMatchObject({ code: 'EACCES' })
  })

  it('never tells the password', async () => {
    const { open } = await image(format)
    const disk = await open()
    expect(JSON.stringify([disk, disk.node, await disk.info(), disk.filename])).not.toContain(password)
  })

  it('keeps its snapshots, and checks without findings', async () => {
    const { open } = await image(format)
    const disk = await open()
    await disk.write(0, new Uint8Array(65536).fill(1))
    await disk.snapshots.create({ name: 'one' })
    await disk.write(0, new Uint8Array(65536).fill(2))
    expect(await disk.check()).toMatchObject({ corruptions: 0, leaks: 0 })
    await disk.snapshots.apply('one')
    const buf = new Uint8Array(65536)
    await disk.read(0, buf)
    expect(buf.every((byte) => byte === 1)).toBe(true)
  })

  it('tells no place where data stands as it reads', async () => {
    const { open } = await image(format)
    const disk = await open()
    await disk.write(0, new Uint8Array(65536).fill(1))
    const extent = await disk.status(0, 65536)
    expect(extent).toMatchObject({ data: true, zero: false })
    expect(extent?.hostOffset).toBeUndefined()
  })

  it('stores compressed writes encrypted', async () => {
    const { open, files } = await image(format)
    const disk = await open()
    await disk.write(0, new Uint8Array(65536).fill(0x5a), 8)
    await disk.close()
    const stored = new Uint8Array(files.file('image').size)
    files.file('image').read(0, stored)
    expect((await (await open()).status(0, 65536))?.compressed).not.toBe(true)
  })
})

describe('key slots of an image', () => {
  it('change by amend', async () => {
    const { open } = await image('luks')
    const disk = await open()
    await disk.amend({ options: { encrypt: { state: 'active', newSecret: 'other', iterTime: 0 } } })
    await disk.amend({ options: { encrypt: { state: 'inactive', oldSecret: 'key' } } })
    await disk.close()
    await expect(open()).rejects.toThrow('Invalid password, cannot unlock any keyslot')
    await (await open({ encrypt: { keySecret: 'other' } })).close()
  })

  it('are none without LUKS', async () => {
    const options = { encrypt: { state: 'active', newSecret: 'other' } }
    const { open } = await image('aes')
    await expect((await open()).amend({ options })).rejects.toThrow('Only LUKS encryption options can be amended')
    const plain = await image('luks', { encrypt: undefined })
    await expect((await plain.open({})).amend({ options })).rejects.toThrow(
      "Can't amend encryption options - encryption not present",
    )
  })
})

describe('a damaged header', () => {
  it.each([
    ['the size of the extension', 4, 8, 'CRYPTO header extension size 8, but expected size 16'],
    ['the place', 12, 0x10001, "Encryption header offset '65537' is not a multiple of cluster size '65536'"],
    ['the length', 20, 100, 'the header of LUKS is longer than its place in the image'],
    ['no extension', 0, 0x11223344, 'the header of LUKS has no place in the image'],
  ] as const)('is refused: %s', async (_, offset, value, message) => {
    const { open, files } = await image('luks')
    const head = new Uint8Array(512)
    files.file('image').read(0, head)
    const at = Buffer.from(head).indexOf(Buffer.from('0537be77', 'hex'))
    const bytes = new Uint8Array(4)
    new DataView(bytes.buffer).setUint32(0, value)
    files.file('image').write(at + offset, bytes)
    await expect(open()).rejects.toThrow(message)
  })
})

qemu.describe('beside qemu-img', () => {
  let folder: string
  const size = 2 ** 20
  const content = Uint8Array.from({ length: size }, (_, i) => i * 31 + (i >> 9))
  const secret = ['--object', `secret,id=s,data=${password}`]

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'qcow2-encryption-'))
  })
  afterAll(() => rm(folder, { recursive: true }))

  const graphWith = () => new Graph({ drivers: [file, qcow2], secrets: { s: password } })
  const opened = (filename: string) =>
    ({ driver: 'qcow2', file: { driver: 'file', filename }, encrypt: { keySecret: 's' } }) as const

  /** Runs qemu-img, again where it says that it could not measure the processor under load. */
  async function qemuImg(...words: string[]): Promise<string> {
    for (let tries = 1; ; tries++) {
      const { status, stdout, stderr } = await runTool('qemu-img', words)
      if (status === 0) return stdout
      if (tries === 20 || !stderr.includes('accurate CPU usage')) throw new Error(stderr)
    }
  }

  it.each([
    ['aes', 65536, 'v3'],
    ['aes', 512, 'v2'],
    ['luks', 65536, 'v3'],
    ['luks', 4096, 'v2'],
  ] as const)(
    'reads what it wrote, and is read and checked by it: %s, clusters of %d, %s',
    async (format, clusterSize, compat) => {
      const [ours, theirs, plain] = ['ours', 'theirs', 'plain'].map((name) => join(folder, name)) as [
        string,
        string,
        string,
      ]
      await using graph = graphWith()
      const encrypt = { format, keySecret: 's', ...(format === 'luks' ? { iterTime: 1 } : {}) }
      const target = { driver: 'file', filename: ours } as const
      await graph.create({ driver: 'qcow2', size, clusterSize, compat, encrypt, file: target })
      const disk = await graph.add(opened(ours))
      await disk.write(0, content)
      await disk.close()
      const options = `driver=qcow2,encrypt.key-secret=s,file.filename=${ours}`
      expect(await qemuImg('check', ...secret, '--image-opts', options)).toContain('No errors were found')
      await writeFile(plain, content)
      const compared = ['compare', ...secret, '--image-opts', options, `driver=raw,file.filename=${plain}`]
      expect(await qemuImg(...compared)).toContain('Images are identical')
      const create = `encrypt.format=${format},encrypt.key-secret=s,cluster_size=${clusterSize},compat=${compat}`
      const words = ['-o', format === 'luks' ? `${create},encrypt.iter-time=1` : create, plain, theirs]
      await qemuImg('convert', ...secret, '-f', 'raw', '-O', 'qcow2', ...words)
      const other = await graph.add(opened(theirs))
      const buf = new Uint8Array(size)
      await other.read(0, buf)
      expect(Buffer.compare(buf, content)).toBe(0)
      expect(await other.check()).toMatchObject({ corruptions: 0, leaks: 0 })
    },
  )
})
