/** Writes in which one call to the storage fails, or at one call of which they are aborted; the disk is used on. */
import { writeFileSync } from 'node:fs'
import { BlockError, Flag } from '@diskgraph/core'
import { describe, expect, it } from 'vitest'
import { FakeFile, type FakeImage, fakeImage } from '../fake-file.ts'
import { Folder, haveQemu, qemuCheck } from '../images.ts'

type Options = Readonly<Record<string, unknown>>

const layouts: Readonly<Record<string, Options>> = {
  'large clusters': {},
  'small clusters': { clusterSize: 512, refcountBits: 64, size: 4 * 1024 * 1024 },
  'lazy refcounts': { clusterSize: 4096, lazyRefcounts: true },
}

const offset = 128 * 1024
const length = 64 * 1024

/** The requests, each with the byte that it leaves in the range. */
const requests: Readonly<Record<string, [number, (image: FakeImage['image'], signal: AbortSignal) => Promise<void>]>> =
  {
    'a write': [7, (image, signal) => image.write(offset, filled(7), 0, signal)],
    'a compressed write': [7, (image, signal) => image.write(offset, filled(7), Flag.Compressed, signal)],
    zeroes: [0, (image, signal) => image.writeZeroes(offset, length, 0, signal)],
    'zeroes that unmap': [0, (image, signal) => image.writeZeroes(offset, length, Flag.MayUnmap, signal)],
    'a discard': [0, (image, signal) => image.discard(offset, length, signal)],
  }

function filled(byte: number): Uint8Array {
  return new Uint8Array(length).fill(byte)
}

async function content(image: FakeImage['image'], at: number): Promise<Uint8Array> {
  const buf = new Uint8Array(length)
  await image.read(at, buf, 0)
  return buf
}

/** An image with something before the range and, for all but compressed writes, in it; with a snapshot of that. */
async function makeImage(layout: Options, name: string): Promise<Uint8Array> {
  const { image, file } = await fakeImage(layout)
  await image.write(0, filled(1), 0)
  if (name !== 'a compressed write') await image.write(offset, filled(2), 0)
  await image.snapshots.create({ name: 'one' })
  await image.close()
  return file.bytes
}

function copyOf(bytes: Uint8Array): FakeFile {
  const file = new FakeFile()
  file.bytes = bytes.slice()
  return file
}

/** Lets the `nth` call meet `fate`; whether there was such a call can be asked. */
function meet(file: FakeFile, nth: number, fate: () => Promise<void> | undefined): { readonly met: boolean } {
  let calls = 0
  file.before = () => (++calls === nth ? fate() : undefined)
  return {
    get met() {
      return calls >= nth
    },
  }
}

async function requestWithFault(
  base: Uint8Array,
  name: string,
  nth: number,
  aborts: boolean,
  path: string,
): Promise<boolean> {
  const [byte, request] = requests[name]!
  const { image, file } = await fakeImage({}, { passDiscardOther: true }, { file: copyOf(base) })
  const controller = new AbortController()
  const failure = () => Promise.reject(new BlockError('EIO', 'broken'))
  const abort = () => void controller.abort(new BlockError('ECANCELED', 'aborted'))
  const point = meet(file, nth, aborts ? () => abort() as undefined : failure)
  const before = name === 'a compressed write' ? 0 : 2
  const done = await request(image, controller.signal).then(
    () => true,
    () => false,
  )
  await image.flush().catch(() => undefined)
  file.before = () => undefined
  const now = await content(image, offset)
  if (done) expect(Buffer.compare(now, filled(byte))).toBe(0)
  else expect(now.every((value) => value === byte || value === before)).toBe(true)
  await image.write(256 * 1024, filled(9), 0)
  await image.flush()
  await image.write(offset + 512, filled(8).subarray(512), 0)
  now.fill(8, 512)
  await image.close()
  const again = await fakeImage({}, {}, { file })
  expect(Buffer.compare(await content(again.image, offset), now)).toBe(0)
  expect(Buffer.compare(await content(again.image, 0), filled(1))).toBe(0)
  expect(Buffer.compare(await content(again.image, 256 * 1024), filled(9))).toBe(0)
  if (haveQemu && nth % 3 === 0) {
    writeFileSync(path, file.bytes)
    const { code, output } = qemuCheck(path)
    expect([0, 3], output).toContain(code)
  }
  return point.met
}

describe.each(Object.entries(layouts))('an image with %s can be used on', (_, layout) => {
  for (const name of Object.keys(requests)) {
    for (const aborts of [false, true]) {
      it(`after ${name} that ${aborts ? 'was aborted' : 'met a failing storage'} at any call`, async () => {
        using folder = new Folder()
        const base = await makeImage(layout, name)
        let nth = 1
        while (nth < 40 && (await requestWithFault(base, name, nth, aborts, folder.file('a')))) nth++
        expect(nth).toBeGreaterThan(2)
      }, 60_000)
    }
  }
})
