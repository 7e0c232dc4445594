import { describe, expect, test } from 'vitest'
import {
  detectForeignFormat,
  foreignFooter,
  foreignFormat,
  headFormats,
  refuseForeignFormat,
  type SignatureReader,
} from '../src/opening/signatures.ts'

/** One byte for each character. */
const bytes = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0))
const padded = (text: string, length = 2048): Uint8Array => {
  const result = new Uint8Array(length)
  result.set(bytes(text))
  return result
}

class MemoryReader implements SignatureReader {
  readonly #content: Uint8Array
  /** Every read: offset and length. */
  readonly reads: [number, number][] = []

  constructor(content: Uint8Array) {
    this.#content = content
  }

  get size(): number {
    return this.#content.length
  }

  async read(offset: number, buf: Uint8Array): Promise<void> {
    expect(offset).toBeGreaterThanOrEqual(0)
    expect(offset + buf.length).toBeLessThanOrEqual(this.size)
    this.reads.push([offset, buf.length])
    buf.set(this.#content.subarray(offset, offset + buf.length))
  }
}

describe('a signature at the start', () => {
  const cases: readonly (readonly [format: string, head: string])[] = [
    ['qcow2', 'QFI\xfb\0\0\0\x02'],
    ['qcow2', 'QFI\xfb\0\0\0\x03'],
    ['qcow2', 'QFI\xfb\0\x01\0\0'],
    ['qcow', 'QFI\xfb\0\0\0\x01'],
    ['qed', 'QED\0'],
    ['cow', 'OOOM\0\0\0\x02'],
    ['vmdk', 'KDMV\x01\0\0\0'],
    ['vmdk', 'KDMV\x09\0\0\0'],
    ['vmdk', 'COWD\x01\0\0\0'],
    ['vmdk', '\xbe\xba\xfe\xca\0\0\0\0'],
    ['vdi', `${'<<< Oracle VM VirtualBox Disk Image >>>\n'.padEnd(64, '\0')}\x7f\x10\xda\xbe`],
    ['vdi', `${'\0'.repeat(64)}\x7f\x10\xda\xbe`],
    ['vhdx', 'vhdxfile'],
    ['vpc', 'conectix'],
    ['parallels', 'WithoutFreeSpace\x02\0\0\0'],
    ['parallels', 'WithouFreSpacExt\x02\0\0\0'],
    ['bochs', 'Bochs Virtual HD Image\0'],
    ['cloop', '#!/bin/sh\n#V2.0 Format\n'],
    ['luks', 'LUKS\xba\xbe\0\x01'],
    ['luks2', 'LUKS\xba\xbe\0\x02'],
  ]

  test.each(cases)('tells %s by %j', (format, head) => {
    expect(foreignFormat(padded(head), 'x')).toBe(format)
    expect(foreignFormat(bytes(head), 'x')).toBe(format)
  })

  test.each(cases)('of %s is not seen where any of its bytes is missing: %j', (_, head) => {
    // Numbers behind a magic text may have other values.
    let { length } = head
    while (head.charCodeAt(length - 1) < 10) length--
    if (!head.startsWith('QFI')) expect(foreignFormat(bytes(head.slice(0, length - 1)), 'x')).toBeUndefined()
    expect(foreignFormat(bytes(head.slice(1)), 'x')).toBeUndefined()
  })

  test.each([
    '',
    '\0',
    'LUKS\xba\xbe\0\x03',
    'hello',
    '#!/bin/sh\necho version=1\n',
    '# comments only\n#\n',
    '\n\n\n',
    'versions=1\n',
    'x\nversion=1\n',
    '\0\nversion=1\n',
    'VMDK',
    'conecti',
  ])('is not seen in %j', (head) => {
    expect(foreignFormat(padded(head), 'x')).toBeUndefined()
    expect(foreignFormat(bytes(head), 'x')).toBeUndefined()
  })

  test('of two formats is told for both', () => {
    const head = padded('KDMV')
    head.set(bytes('\x7f\x10\xda\xbe'), 64)
    expect(headFormats(head)).toEqual(['vmdk', 'vdi'])
  })

  test('is not needed where a name ends in .dmg', () => {
    expect(foreignFormat(padded('x'), 'a.dmg')).toBe('dmg')
    expect(foreignFormat(padded('x'), 'a.dmg.raw')).toBeUndefined()
    expect(foreignFormat(padded('QED\0'), 'a.dmg')).toBe('qed')
  })
})

describe('a descriptor of VMDK', () => {
  test.each([
    '# Disk DescriptorFile\nversion=1\n',
    '# Disk DescriptorFile',
    '#Disk DescriptorFile\n',
    '# disk descriptorfile\n',
    '\xef\xbb\xbf# Disk DescriptorFile\r\nversion=1\r\n',
    'version=1\n',
    'version=3\r\ncreateType="monolithicFlat"\r\n',
    'version = 1\n',
    'Version=1\n',
    '# anything\nversion=1\n',
    '#\n\n \t\n#\nversion=2\n',
    '\n\n\nversion=1\n',
    '   \nversion=1',
    '# a \0 zero\nversion=1\n',
    `#${'x'.repeat(1900)}\nversion=1\n`,
    `${'# a\n'.repeat(400)}version=1\n`,
    'encoding="UTF-8"\nversion=1\n',
    'CID=fffffffe\n',
    'parentCID=ffffffff\n',
    'createType="monolithicFlat"\nversion=1\n',
    'RW 2048 FLAT "/etc/passwd" 0\n',
    'RDONLY 2048 SPARSE "x.vmdk"\n',
    'rw 63 flat "x" 0\n',
  ])('is seen in %j', (head) => {
    expect(foreignFormat(bytes(head), 'x')).toBe('vmdk')
  })
})

describe('a signature at the end', () => {
  const tailOf = (text: string, fromEnd: number): Uint8Array => {
    const tail = new Uint8Array(1024)
    tail.set(bytes(text), tail.length - fromEnd)
    return tail
  }

  test('tells a fixed VHD by its footer of 512 or 511 bytes', () => {
    for (const length of [512, 511]) expect(foreignFooter(tailOf('conectix', length))).toBe('vpc')
    for (const length of [513, 510, 1024]) expect(foreignFooter(tailOf('conectix', length))).toBeUndefined()
  })

  test('tells a DMG image by its trailer, behind which a little may stand', () => {
    for (const length of [512, 513, 522, 1024]) {
      expect(foreignFooter(tailOf('koly\0\0\0\x04\0\0\x02\0', length))).toBe('dmg')
    }
    expect(foreignFooter(tailOf('koly\0\0\0\x05\0\0\x02\0', 512))).toBeUndefined()
  })

  test('is looked for in files of every length, without reading past them', async () => {
    for (const length of [0, 1, 7, 8, 511, 512, 513, 1023, 1024, 1025, 2047, 2049, 5000]) {
      expect(await detectForeignFormat(new MemoryReader(new Uint8Array(length)), 'x')).toBeUndefined()
      if (length < 512) continue
      const content = new Uint8Array(length)
      content.set(bytes('conectix'), length - 512)
      expect(await detectForeignFormat(new MemoryReader(content), 'x'), String(length)).toBe('vpc')
    }
  })

  test('is not read where the start has told enough', async () => {
    const reader = new MemoryReader(padded('QED\0', 8192))
    expect(await detectForeignFormat(reader, 'x')).toBe('qed')
    expect(reader.reads).toEqual([[0, 2048]])
  })
})

describe('a file that probing takes for raw', () => {
  test('is refused with the package that is missing and the way to mean raw', async () => {
    await expect(refuseForeignFormat(new MemoryReader(padded('KDMV')), 'x', ['raw', 'qcow2'])).rejects.toMatchObject({
      code: 'ENOTSUP',
      message:
        "it has the signature of format 'vmdk', whose driver is missing; " +
        'to take it for raw data, give that format: -f raw',
    })
  })

  test('is taken for raw where the driver of the format has been asked, and where there is no signature', async () => {
    await refuseForeignFormat(new MemoryReader(padded('KDMV')), 'x', ['raw', 'vmdk'])
    await refuseForeignFormat(new MemoryReader(padded('')), 'x', ['raw'])
  })
})
