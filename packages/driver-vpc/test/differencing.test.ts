/** Differencing images that are made and written here, judged by a model, by crashes, and by libvhdi. */
import { type MemoryFiles, Random } from '@diskgraph/driver-testkit'
import { vpc } from '@diskgraph/driver-vpc'
import { describe, expect, it } from 'vitest'
import { DifferencingImages, differencingSuite, judge, mib, readByLibrary, seed, size } from './differencing-images.ts'

const createOptions = { forceSize: true }
const images = new DifferencingImages(vpc, createOptions)

differencingSuite(vpc, createOptions, 2 * mib)

it('a chain is refused when an image below is another one', async () => {
  const { files } = await images.chain()
  await images.create(files, 'base')
  await expect(images.contentOf(files, 'top')).rejects.toThrow('is not the image that this one was made on')
})

/** Clears bits, or whole bytes, of the bitmaps of blocks: those sectors are of the image below; in the model as well. */
function punch(files: MemoryFiles, model: Buffer, below: Buffer, bytewise: boolean): number {
  const random = new Random(seed)
  const file = files.file('top')
  const read = (at: number, length: number): Buffer => {
    const bytes = Buffer.alloc(length)
    file.read(at, bytes)
    return bytes
  }
  const header = read(512, 1024)
  const table = read(Number(header.readBigUInt64BE(16)), 4 * header.readUInt32BE(28))
  let blocks = 0
  for (let index = 0; index < table.length / 4; index++) {
    const entry = table.readUInt32BE(4 * index)
    if (entry === 0xffffffff) continue
    blocks++
    for (let i = 0; i < 30; i++) {
      const sector = bytewise ? random.below(512) * 8 : random.below(4096)
      const sectors = bytewise ? 8 : 1
      const bits = read(entry * 512 + (sector >> 3), 1)
      bits[0] = (bits[0] as number) & ~(bytewise ? 0xff : 0x80 >> (sector & 7))
      file.write(entry * 512 + (sector >> 3), bits)
      const at = index * 2 * mib + sector * 512
      if (at < size) below.copy(model, at, at, at + sectors * 512)
    }
  }
  return blocks
}

describe('blocks with sectors of the image below', () => {
  async function punched(bytewise = false) {
    const { files, models } = await images.chain()
    const model = models[2] as Buffer
    expect(punch(files, model, models[1] as Buffer, bytewise)).toBeGreaterThan(2)
    return { files, model }
  }

  it('show these', async () => {
    const { files, model } = await punched()
    expect((await images.contentOf(files, 'top')).equals(model)).toBe(true)
  })

  it('show them and what was written since', async () => {
    const { files, model } = await punched()
    await images.scribble(files, 'top', model, new Random(seed + 1))
    expect((await images.contentOf(files, 'top')).equals(model)).toBe(true)
  })

  judge.it('are read by libvhdi as they are here, before they are written to and after', async () => {
    // It takes single sectors behind others of the same byte for those of the image itself.
    const { files, model } = await punched(true)
    expect(readByLibrary(files).equals(model)).toBe(true)
    await images.scribble(files, 'top', model, new Random(seed + 1))
    expect(readByLibrary(files).equals(model)).toBe(true)
  })
})
