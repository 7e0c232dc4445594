import { createCipheriv } from 'node:crypto'
import { SectorCipher } from '@diskgraph/crypto'
import { describe, expect, it } from 'vitest'
import { type CipherSpec, keySizeOf } from '../src/cipher-spec.ts'
import { browserPlatform } from '../src/platform-browser.ts'
import { nodePlatform } from '../src/platform-node.ts'

const bytes = (length: number, factor: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => i * factor + (i >> 8))
const hex = (data: Uint8Array): string => Buffer.from(data).toString('hex')

/** The numbers of sectors in the first vector, as all generators but `essiv` write them. */
function vector(sector: number): Buffer {
  const iv = Buffer.alloc(16)
  iv.writeBigUInt64LE(BigInt(sector))
  return iv
}

describe.each([
  ['node', nodePlatform],
  ['browser', browserPlatform],
])('sectors encrypted by the platform of %s', (_, platform) => {
  const data = bytes(2048, 7)

  it('are as OpenSSL encrypts each of them in XTS', () => {
    const key = bytes(64, 3)
    const cipher = new SectorCipher(nodePlatform, { algorithm: 'aes-256', mode: 'xts', ivGenerator: 'plain64' }, key)
    const parts = [0, 1, 2, 3].map((i) =>
      createCipheriv('aes-256-xts', key, vector(2 ** 33 + i)).update(data.subarray(i * 512, i * 512 + 512)),
    )
    expect(hex(cipher.encrypt(2 ** 33, data))).toBe(hex(Buffer.concat(parts)))
  })

  it('are as OpenSSL encrypts them in CBC, with sectors of 1 KiB', () => {
    const key = bytes(16, 5)
    const spec = { algorithm: 'aes-128', mode: 'cbc', ivGenerator: 'plain' } as const
    const parts = [0, 1].map((i) =>
      createCipheriv('aes-128-cbc', key, vector(9 + i))
        .setAutoPadding(false)
        .update(data.subarray(i * 1024, i * 1024 + 1024)),
    )
    expect(hex(new SectorCipher(nodePlatform, spec, key, 1024).encrypt(9, data))).toBe(hex(Buffer.concat(parts)))
  })

  const specs: CipherSpec[] = (['aes-128', 'aes-192', 'aes-256'] as const).flatMap((algorithm) =>
    (['ecb', 'cbc', 'xts', 'ctr'] as const).flatMap((mode): CipherSpec[] => [
      { algorithm, mode, ivGenerator: 'plain64' },
      { algorithm, mode, ivGenerator: 'essiv', ivHash: 'sha256' },
    ]),
  )

  it.each(specs)('come back: $algorithm $mode $ivGenerator', (spec) => {
    const cipher = new SectorCipher(nodePlatform, spec, bytes(keySizeOf(spec), 11))
    // At an odd place of its memory, as buffers of clients are.
    const place = new Uint8Array(data.length + 1).subarray(1)
    place.set(data)
    const stored = cipher.encrypt(5, place)
    expect(hex(place)).toBe(hex(data))
    expect(hex(stored)).not.toBe(hex(data))
    const back = new Uint8Array(data.length + 3).subarray(3)
    back.set(stored)
    cipher.decrypt(5, back)
    expect(hex(back)).toBe(hex(data))
  })

  it('are the same on both platforms', () => {
    for (const spec of specs) {
      const key = bytes(keySizeOf(spec), 13)
      const here = new SectorCipher(nodePlatform, spec, key).encrypt(1, data)
      expect(hex(here)).toBe(hex(new SectorCipher(nodePlatform, spec, key).encrypt(1, data)))
    }
  })

  it('derive the same keys', async () => {
    for (const hash of ['md5', 'sha1', 'sha224', 'sha256', 'sha384', 'sha512', 'ripemd160'] as const) {
      const derived = await platform.pbkdf2(hash, bytes(9, 3), bytes(32, 5), 20, 40)
      expect(hex(derived)).toBe(hex(await nodePlatform.pbkdf2(hash, bytes(9, 3), bytes(32, 5), 20, 40)))
    }
  })
})

it('plain has no more than 32 bits of the number of a sector', () => {
  const key = bytes(16, 5)
  const plain = new SectorCipher(nodePlatform, { algorithm: 'aes-128', mode: 'cbc', ivGenerator: 'plain' }, key)
  const data = bytes(512, 3)
  expect(hex(plain.encrypt(2 ** 32 + 7, data))).toBe(hex(plain.encrypt(7, data)))
})

it('no sectors are none', () => {
  const cipher = new SectorCipher(
    nodePlatform,
    { algorithm: 'aes-128', mode: 'cbc', ivGenerator: 'plain' },
    bytes(16, 5),
  )
  cipher.decrypt(0, new Uint8Array(0))
  expect(cipher.encrypt(0, new Uint8Array(0))).toHaveLength(0)
})

describe('nonsense', () => {
  const good = { algorithm: 'aes-256', mode: 'xts', ivGenerator: 'plain64' } as const

  it.each([
    [{ algorithm: 'aes-257' }, 64, 512, "a cipher's algorithm is one of aes-128, aes-192, aes-256, not aes-257"],
    [{ mode: 'xtx' }, 64, 512, "a cipher's mode is one of ecb, cbc, xts, ctr, not xtx"],
    [{ ivGenerator: 'plan64' }, 64, 512, "a cipher's ivGenerator is one of plain, plain64, essiv, not plan64"],
    [{ ivGenerator: undefined }, 64, 512, "a cipher's ivGenerator is one of plain, plain64, essiv, not undefined"],
    [{ ivGenerator: 'essiv' }, 64, 512, "a cipher's ivHash is one of"],
    [{}, 32, 512, 'aes-256 in mode xts takes 64 bytes of key, not 32'],
    [{}, 64, 100, 'a sector has a multiple of 16 bytes, not 100'],
  ])('is refused: %o', (change, key, sectorSize, message) => {
    const spec = { ...good, ...change } as never
    expect(() => new SectorCipher(nodePlatform, spec, new Uint8Array(key), sectorSize)).toThrow(message)
  })

  it.each([
    [-1, 512],
    [Number.NaN, 512],
    [2 ** 53, 512],
    [0, 100],
  ])('is refused: sector %d, %d bytes', (sector, length) => {
    const cipher = new SectorCipher(
      nodePlatform,
      good,
      new Uint8Array(64).map((_, i) => i),
    )
    const message = `${length} bytes from sector ${sector} on: sectors have 512 bytes, and numbers from 0 on`
    expect(() => cipher.encrypt(sector, new Uint8Array(length))).toThrow(message)
    expect(() => cipher.decrypt(sector, new Uint8Array(length))).toThrow(message)
  })
})
