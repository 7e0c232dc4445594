import { readFileSync, writeFileSync } from 'node:fs'
import type { Inflater } from '@diskgraph/codecs'
import { peer, Random, randomSeed, runTool, TempFolder } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { adc } from '../src/codecs/adc.ts'
import { bzip2 } from '../src/codecs/bzip2.ts'
import { xzInflater as xz } from '../src/codecs/xz.ts'

const seed = Number(process.env.SEED ?? randomSeed())

/** 3000 zeroes, and a text with runs and repetitions. */
const content = new Uint8Array(3047)
content.set(new TextEncoder().encode(`abababcabababc${'a'.repeat(30)}xyz`), 3000)

const samples: readonly [string, () => Inflater | Promise<Inflater>, Uint8Array][] = [
  // What bzip2 and xz wrote.
  [
    'bzip2',
    () => bzip2,
    Buffer.from('QlpoOTFBWSZTWZHKEwkAAAXhiMAAABA4AABwAACACCAAMQAwCpQGmlyPZIbOro0mFeuifF3JFOFCQkcoTCQ=', 'base64'),
  ],
  [
    'xz',
    xz,
    Buffer.from(
      '/Td6WFoAAAFpIt42AgAhARYAAAB0L+Wj4AvmACFdAABv/f//o7f/Rz5IFXI5YVG4QtGTEO7sDIR+64QjR3qtAAAAAADM3qkEAAE55xcAAABR9hq3PjANiwIAAAAAAVla',
      'base64',
    ),
  ],
  ['adc', () => adc, adcStream()],
]

/** Runs of zeroes by copies of either kind, then bytes as they are. */
function adcStream(): Uint8Array {
  const codes = [0x80, 0]
  let rest = 2999
  for (; rest >= 67; rest -= 67) codes.push(0x7f, 0, 0)
  for (; rest >= 3; rest -= Math.min(rest, 18)) codes.push((Math.min(rest, 18) - 3) << 2, 0)
  return Uint8Array.from([...codes, ...Array(rest).fill([0x80, 0]).flat(), 0x80 + 46, ...content.subarray(3000)])
}

describe.each(samples)(`%s (seed ${seed})`, (_, load, stream) => {
  it('reads what others wrote', async () => {
    const inflater = await load()
    const output = await inflater.inflate(stream, content.length)
    expect(Buffer.compare(output, content)).toBe(0)
    expect((await inflater.inflate(stream, 65536)).length).toBe(content.length)
  })

  it('refuses what is cut, or comes to more', async () => {
    const inflater = await load()
    await expect(inflater.inflate(stream, content.length - 1)).rejects.toThrow()
    await expect(inflater.inflate(stream.subarray(0, -10), 65536)).rejects.toThrow()
  })

  it('gives an error or an output that is no longer than asked for, whatever it is given', async () => {
    const inflater = await load()
    const random = new Random(seed)
    for (let i = 0; i < 300; i++) {
      const damaged = Uint8Array.from(stream)
      for (let n = random.between(1, 4); n > 0; n--) damaged[random.below(damaged.length)] = random.below(256)
      const output = await inflater.inflate(damaged, 4096).catch((error: unknown) => {
        expect(error).toBeInstanceOf(Error)
        return new Uint8Array(0)
      })
      expect(output.length).toBeLessThanOrEqual(4096)
    }
  })
})

describe('copies of adc', () => {
  it.each([
    ['that overlap', [0x82, 1, 2, 3, 0x41, 0, 1], [1, 2, 3, 2, 3, 2, 3, 2]],
    ['of the short kind', [0x82, 1, 2, 3, 0x00, 2], [1, 2, 3, 1, 2, 3]],
  ])('repeat bytes: %s', async (_, stream, expected) => {
    expect([...(await adc.inflate(Uint8Array.from(stream), 100))]).toEqual(expected)
  })

  it('do not reach before the start', async () => {
    await expect(adc.inflate(Uint8Array.from([0x80, 1, 0x40, 0, 1]), 100)).rejects.toThrow('a copy from 2 bytes before')
  })
})

describe.each([
  ['bzip2', bzip2, ['-1', '-9']],
  ['xz', { inflate: async (data: Uint8Array, size: number) => (await xz()).inflate(data, size) }, ['-1', '-6']],
] as const)(`beside the program %s (seed ${seed})`, (tool, inflater, levels) => {
  peer(tool, { describe, it }).it('reads what it writes', async () => {
    await using folder = await TempFolder.make()
    const random = new Random(seed)
    const path = folder.file('data')
    for (const level of levels) {
      const pieces = Array.from({ length: 60 }, () =>
        random.chance(0.4)
          ? Buffer.alloc(random.below(9000), random.below(256))
          : random.chance(0.5)
            ? Buffer.from(random.bytes(random.below(6000)))
            : Buffer.from('all that glitters '.repeat(random.below(300))),
      )
      const data = Buffer.concat(pieces)
      writeFileSync(path, data)
      await runTool(tool, ['-k', '-f', level, path])
      const stream = readFileSync(`${path}.${tool === 'xz' ? 'xz' : 'bz2'}`)
      expect(Buffer.compare(await inflater.inflate(stream, data.length), data)).toBe(0)
    }
  })
})
