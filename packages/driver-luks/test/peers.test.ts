import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Graph } from '@diskgraph/core'
import { file } from '@diskgraph/driver-file'
import { type LuksCreateOptions, luks } from '@diskgraph/driver-luks'
import { peer, runTool } from '@diskgraph/driver-testkit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const qemu = peer('qemu-img', { describe, it })
const cryptsetup = peer('cryptsetup', { describe, it })
const password = 'open sesame'
const secret = ['--object', `secret,id=s,data=${password}`]
const size = 2 ** 20
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'luks-'))
})
afterAll(() => rm(folder, { recursive: true }))

const content = Uint8Array.from({ length: size }, (_, i) => i * 31 + (i >> 9))

function graphWith(): Graph {
  return new Graph({ drivers: [file, luks], secrets: { s: password, n: 'new' } })
}

const definition = (filename: string, keySecret = 's') =>
  ({ driver: 'luks', keySecret, file: { driver: 'file', filename } }) as const

async function make(filename: string, options: Partial<LuksCreateOptions>): Promise<void> {
  await using graph = graphWith()
  const target = { driver: 'file', filename } as const
  await graph.createUnchecked({ driver: 'luks', size, keySecret: 's', iterTime: 1, ...options, file: target })
  const disk = await graph.add(definition(filename))
  await disk.write(0, content)
  await disk.close()
}

async function contentOf(filename: string, keySecret?: string): Promise<Uint8Array> {
  await using graph = graphWith()
  const disk = await graph.add({ ...definition(filename, keySecret), readOnly: true })
  const bytes = new Uint8Array(disk.size)
  await disk.read(0, bytes)
  return bytes
}

/** Runs qemu-img, again where it says that it could not measure the processor under load. */
async function qemuImg(...words: string[]): Promise<string> {
  for (let tries = 1; ; tries++) {
    const { status, stdout, stderr } = await runTool('qemu-img', words)
    if (status === 0) return stdout
    if (tries === 20 || !stderr.includes('accurate CPU usage')) throw new Error(stderr)
  }
}

const variants: readonly [string, string, Partial<LuksCreateOptions>][] = [
  ['the defaults', '', {}],
  [
    'aes-128 cbc essiv',
    'cipher-alg=aes-128,cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256',
    {
      cipherAlg: 'aes-128',
      cipherMode: 'cbc',
      ivgenAlg: 'essiv',
      ivgenHashAlg: 'sha256',
    },
  ],
  ['aes-192 xts, sha512', 'cipher-alg=aes-192,hash-alg=sha512', { cipherAlg: 'aes-192', hashAlg: 'sha512' }],
  [
    'ctr, plain, sha1',
    'cipher-mode=ctr,ivgen-alg=plain,hash-alg=sha1',
    {
      cipherMode: 'ctr',
      ivgenAlg: 'plain',
      hashAlg: 'sha1',
    },
  ],
  ['ecb, ripemd160', 'cipher-mode=ecb,hash-alg=ripemd160', { cipherMode: 'ecb', hashAlg: 'ripemd160' }],
  ['xts essiv', 'ivgen-alg=essiv', { ivgenAlg: 'essiv' }],
]

qemu.describe('beside qemu-img', () => {
  it.each(variants)('reads what it wrote, and is read by it: %s', async (_, words, options) => {
    const [ours, theirs, plain] = ['ours', 'theirs', 'plain'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ]
    await make(ours, options)
    await qemuImg(
      'convert',
      ...secret,
      '--image-opts',
      `driver=luks,key-secret=s,file.filename=${ours}`,
      '-O',
      'raw',
      plain,
    )
    const same = await qemuImg(
      'compare',
      ...secret,
      '--image-opts',
      `driver=luks,key-secret=s,file.filename=${ours}`,
      `driver=raw,file.filename=${plain}`,
    )
    expect(same).toContain('Images are identical')
    await writeFile(plain, content)
    const create = `key-secret=s,iter-time=1${words === '' ? '' : `,${words}`}`
    await qemuImg('convert', ...secret, '-f', 'raw', '-O', 'luks', '-o', create, plain, theirs)
    expect(Buffer.compare(await contentOf(theirs), content)).toBe(0)
    expect(Buffer.compare(await contentOf(ours), content)).toBe(0)
  })

  it('adds a password that it opens the volume with', async () => {
    const image = join(folder, 'slots')
    await make(image, {})
    await using graph = graphWith()
    const disk = await graph.add(definition(image))
    await disk.amend({ options: { state: 'active', newSecret: 'n', iterTime: 1 } })
    await disk.amend({ options: { state: 'inactive', oldSecret: 's' } })
    await disk.close()
    const opened = `driver=luks,key-secret=s,file.filename=${image}`
    await qemuImg('compare', '--object', 'secret,id=s,data=new', '--image-opts', opened, opened)
    await expect(qemuImg('compare', ...secret, '--image-opts', opened, opened)).rejects.toThrow('Invalid password')
    expect(Buffer.compare(await contentOf(image, 'n'), content)).toBe(0)
  })

  it('tells the same of a volume', async () => {
    const image = join(folder, 'info')
    await make(image, { ivgenAlg: 'essiv' })
    const theirs = JSON.parse(await qemuImg('info', '--output=json', image))['format-specific'].data
    await using graph = graphWith()
    const disk = await graph.add({ driver: 'luks', file: { driver: 'file', filename: image } }, { inspect: true })
    const { specific, encrypted } = await disk.info()
    expect(encrypted).toBe(true)
    const kebab = JSON.stringify(specific?.data).replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
    expect(JSON.parse(kebab)).toEqual(theirs)
  })
})

cryptsetup.describe('beside cryptsetup', () => {
  it('makes headers that it takes', async () => {
    const image = join(folder, 'dumped')
    await make(image, { hashAlg: 'sha512' })
    const { stdout, status } = await runTool('cryptsetup', ['luksDump', image])
    expect(status).toBe(0)
    expect(stdout).toMatch(/Cipher mode:\s+xts-plain64[\s\S]*Hash spec:\s+sha512[\s\S]*Key Slot 0: ENABLED/)
    const key = join(folder, 'key')
    await writeFile(key, password)
    const opened = await runTool('cryptsetup', ['open', '--test-passphrase', '--key-file', key, image])
    expect(opened).toMatchObject({ status: 0 })
  })

  it('opens what it made', async () => {
    const [image, key] = [join(folder, 'made'), join(folder, 'key')]
    await writeFile(key, password)
    await writeFile(image, new Uint8Array(8 * size))
    const words = ['luksFormat', '--type', 'luks1', '--batch-mode', '--pbkdf-force-iterations', '1000', image, key]
    expect(await runTool('cryptsetup', words)).toMatchObject({ status: 0 })
    expect((await contentOf(image)).length).toBe(6 * size)
  })
})
