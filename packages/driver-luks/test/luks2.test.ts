/** Volumes of LUKS2, which cryptsetup makes and judges. */
import { createHash } from 'node:crypto'
import { copyFile, open, readFile, truncate, writeFile } from 'node:fs/promises'
import { Graph } from '@diskgraph/core'
import { file } from '@diskgraph/driver-file'
import { luks } from '@diskgraph/driver-luks'
import { peer, runTool, TempFolder } from '@diskgraph/driver-testkit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const mib = 2 ** 20
const size = 2 * mib
const password = 'open sesame'
const cryptsetup = peer('cryptsetup', { describe, it })
const folder = await TempFolder.make()
afterAll(() => folder.remove())

const content = Uint8Array.from({ length: size }, (_, i) => i * 31 + (i >> 9))

async function run(...words: string[]): Promise<void> {
  const { status, stdout, stderr } = await runTool('cryptsetup', ['--batch-mode', ...words])
  if (status !== 0) throw new Error(`cryptsetup ${words.join(' ')}: ${stdout}${stderr}`)
}

const key = folder.file('key')
const pbkdf2 = ['--pbkdf', 'pbkdf2', '--pbkdf-force-iterations', '1000']
const argon2 = (type: string): string[] => ['--pbkdf', type, '--pbkdf-memory', '8192', '--pbkdf-force-iterations', '4']

/** A volume with the content, encrypted where it stands; the header takes 16 MiB in front of it. */
async function make(name: string, ...words: string[]): Promise<string> {
  const path = folder.file(name)
  await writeFile(key, password)
  await writeFile(path, content)
  await truncate(path, size + 32 * mib)
  await run(
    'reencrypt',
    '--encrypt',
    '--type',
    'luks2',
    '--reduce-device-size',
    '32M',
    '--key-file',
    key,
    ...words,
    path,
  )
  return path
}

function opened(filename: string, options: object = {}) {
  const graph = new Graph({ drivers: [file, luks], secrets: { s: password, wrong: 'wrong' } })
  return graph.addUnchecked({
    driver: 'luks',
    keySecret: 's',
    file: { driver: 'file', filename, locking: 'off' },
    ...options,
  })
}

async function contentOf(path: string): Promise<Buffer> {
  const disk = await opened(path, { readOnly: true })
  const bytes = Buffer.alloc(size)
  await disk.read(0, bytes)
  await disk.close()
  return bytes
}

async function overwrite(path: string, offset: number, bytes: Uint8Array): Promise<void> {
  const handle = await open(path, 'r+')
  await handle.write(bytes, 0, bytes.length, offset)
  await handle.close()
}

cryptsetup.describe('a volume of LUKS2', () => {
  it.each([
    ['Argon2id', argon2('argon2id')],
    ['Argon2i', argon2('argon2i')],
    ['PBKDF2', pbkdf2],
    ['sectors of 4096 bytes', [...pbkdf2, '--sector-size', '4096']],
    ['sectors of 2048 bytes', [...pbkdf2, '--sector-size', '2048']],
    ['aes-cbc-essiv', [...pbkdf2, '--cipher', 'aes-cbc-essiv:sha256', '--key-size', '256']],
    ['a key of 256 bits, and sha512', [...pbkdf2, '--key-size', '256', '--hash', 'sha512']],
  ])('shows what cryptsetup has encrypted: %s', async (name, words) => {
    const path = await make(name.replaceAll(' ', '-'), ...words)
    expect((await contentOf(path)).equals(content)).toBe(true)
  })

  describe('with PBKDF2', () => {
    let made: string
    let copies = 0
    beforeAll(async () => {
      made = await make('made', ...pbkdf2, '--sector-size', '4096')
    })
    const copy = async (): Promise<string> => {
      const path = folder.file(`copy-${copies++}`)
      await copyFile(made, path)
      return path
    }

    it('is opened with a password of any slot, and with no other', async () => {
      const path = await copy()
      await writeFile(folder.file('new'), 'wrong')
      await expect(opened(path, { keySecret: 'wrong' })).rejects.toMatchObject({ code: 'EPERM' })
      await run('luksAddKey', '--key-file', key, ...pbkdf2, path, folder.file('new'))
      const disk = await opened(path, { keySecret: 'wrong' })
      await disk.close()
    })

    it('takes writes, which cryptsetup reads', async () => {
      const path = await copy()
      const model = Buffer.from(content)
      const disk = await opened(path)
      await disk.write(5000, new Uint8Array(10_000).fill(7))
      model.fill(7, 5000, 15_000)
      await disk.write(mib, new Uint8Array(4096).fill(9))
      model.fill(9, mib, mib + 4096)
      await disk.close()
      await run(
        'reencrypt',
        '--decrypt',
        '--force-offline-reencrypt',
        '--header',
        folder.file('header'),
        '--key-file',
        key,
        path,
      )
      expect((await readFile(path)).subarray(0, size).equals(model)).toBe(true)
    })

    it.each([
      ['first', 0],
      ['second', 0x4000],
    ])('is opened without the %s copy of its header', async (_, offset) => {
      const path = await copy()
      await overwrite(path, offset + 5000, new Uint8Array(100).fill(1))
      expect((await contentOf(path)).equals(content)).toBe(true)
    })

    it('is opened where the first copy of its header is gone', async () => {
      const path = await copy()
      await overwrite(path, 0, new Uint8Array(4096))
      expect((await contentOf(path)).equals(content)).toBe(true)
    })

    it('is refused without both copies of its header', async () => {
      const path = await copy()
      for (const offset of [0, 0x4000]) await overwrite(path, offset + 5000, new Uint8Array(100).fill(1))
      await expect(opened(path)).rejects.toThrow('the LUKS2 header is damaged: neither copy of it is whole')
    })

    it('keeps its key slots and its header as they are', async () => {
      const disk = await opened(await copy())
      await expect(disk.amend({ options: { state: 'inactive', oldSecret: 's' } })).rejects.toThrow('of LUKS2')
      await disk.close()
    })

    /** Changes the metadata in both copies, and makes their checksums right. */
    async function changed(change: (json: string) => string): Promise<string> {
      const path = await copy()
      const bytes = await readFile(path)
      for (const at of [0, 0x4000]) {
        const end = bytes.indexOf(0, at + 4096)
        const json = Buffer.from(change(bytes.toString('utf8', at + 4096, end)))
        const header = Buffer.concat([bytes.subarray(at, at + 4096), json, Buffer.alloc(0x3000 - json.length)])
        header.fill(0, 448, 512)
        header.set(createHash('sha256').update(header).digest(), 448)
        await overwrite(path, at, header)
      }
      return path
    }

    it('is opened with metadata that are written again', async () => {
      expect((await contentOf(await changed((json) => json))).equals(content)).toBe(true)
    })

    it.each([
      ['no JSON', (json: string) => json.slice(1), 'no JSON'],
      ['no slots', (json: string) => json.replace('"keyslots":{', '"others":{'), "lacks 'keyslots'"],
      ['a list for a text', (json: string) => json.replace('"type":"crypt"', '"type":[]'), "'type' is no text"],
      ['odd sectors', (json: string) => json.replace('"sector_size":4096', '"sector_size":513'), '513 bytes'],
      [
        'a negative offset',
        (json: string) => json.replace(/"offset":"\d+"/g, '"offset":"-1"'),
        "'offset' is no number",
      ],
      ['a salt of something else', (json: string) => json.replace(/"salt":"[^"]*"/g, '"salt":"?"'), 'not in base64'],
      ['stripes of another number', (json: string) => json.replace('"stripes":4000', '"stripes":1'), 'other stripes'],
      ['an unknown cipher', (json: string) => json.replaceAll('aes-xts', 'serpent-xts'), "'serpent'"],
      ['another segment', (json: string) => json.replace('"segments":{', '"segments":{"7":{},'), '2 segments'],
      ['hours of work', (json: string) => json.replaceAll('"iterations":1000', '"iterations":2000000000'), 'refused'],
      [
        'more memory than there is',
        (json: string) =>
          json.replace(
            /"kdf":\{"type":"pbkdf2","hash":"sha256","iterations":1000/,
            '"kdf":{"type":"argon2id","time":4,"memory":99999999,"cpus":4',
          ),
        'Argon2 over 99999999 KiB',
      ],
    ])('is refused with %s', async (_, change, text) => {
      await expect(opened(await changed(change))).rejects.toThrow(text)
    })

    it('tells of itself', async () => {
      const disk = await opened(made, { readOnly: true })
      const { specific } = await disk.info()
      await disk.close()
      expect(specific?.data).toMatchObject({
        version: 2,
        cipherAlg: 'aes-256',
        cipherMode: 'xts-plain64',
        sectorSize: 4096,
        slots: [{ id: '0', kdf: 'pbkdf2' }],
      })
    })
  })

  it('is refused while a reencryption is under way', async () => {
    const path = folder.file('begun')
    await writeFile(key, password)
    await writeFile(path, content)
    await truncate(path, size + 32 * mib)
    const words = ['--type', 'luks2', '--reduce-device-size', '32M', '--key-file', key, '--init-only', ...pbkdf2, path]
    await run('reencrypt', '--encrypt', ...words)
    await expect(opened(path)).rejects.toMatchObject({ code: 'ENOTSUP' })
  })
})
