import { PagedFile, Random } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'

describe('a paged file', () => {
  it('does what a byte array does, over random calls', () => {
    const random = new Random(11)
    const file = new PagedFile()
    let bytes = new Uint8Array(0)
    const grown = (size: number): Uint8Array => {
      const next = new Uint8Array(Math.max(size, bytes.length))
      next.set(bytes)
      return next
    }
    for (let i = 0; i < 400; i++) {
      const offset = random.below(50_000)
      const length = random.below(20_000)
      const kind = random.below(4)
      if (kind === 0) {
        const data = random.bytes(length)
        file.write(offset, data)
        bytes = grown(offset + length) as Uint8Array<ArrayBuffer>
        bytes.set(data, offset)
      } else if (kind === 1) {
        file.zero(offset, length)
        bytes = grown(offset + length) as Uint8Array<ArrayBuffer>
        bytes.fill(0, offset, offset + length)
      } else if (kind === 2 && i % 5 === 0) {
        file.truncate(offset)
        bytes = bytes.slice(0, offset)
        bytes = grown(offset) as Uint8Array<ArrayBuffer>
      } else {
        const buf = new Uint8Array(length).fill(9)
        file.read(offset, buf)
        const expected = new Uint8Array(length)
        expected.set(bytes.subarray(offset, offset + length))
        expect(Buffer.compare(buf, expected)).toBe(0)
      }
      expect(file.size).toBe(bytes.length)
    }
    expect(Buffer.compare(file.bytes(), bytes)).toBe(0)
    expect(Buffer.compare(PagedFile.from(bytes).bytes(), bytes)).toBe(0)
  })

  it('shares pages with its copies until one of them writes', () => {
    const file = PagedFile.from(new Uint8Array(10_000).fill(1))
    const copy = file.clone()
    const second = copy.clone()
    copy.write(0, new Uint8Array(10).fill(2))
    file.write(5, new Uint8Array(10).fill(3))
    second.zero(0, 10_000)
    expect([...file.bytes().subarray(0, 6)]).toEqual([1, 1, 1, 1, 1, 3])
    expect([...copy.bytes().subarray(0, 11)]).toEqual([2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1])
    expect(second.bytes().every((byte) => byte === 0)).toBe(true)
  })

  it('tells stored runs from holes', () => {
    const file = new PagedFile(2 ** 40)
    file.write(2 ** 30, new Uint8Array(5000))
    expect(file.run(0, 2 ** 40)).toEqual({ length: 2 ** 30, stored: false })
    expect(file.run(2 ** 30, 2 ** 20)).toEqual({ length: 8192, stored: true })
    expect([...file.storedPages()].map(({ offset }) => offset)).toEqual([2 ** 30, 2 ** 30 + 4096])
  })
})
