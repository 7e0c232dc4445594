import { must, mustBeAll, mustEqual, mustReject } from '../assertions.ts'
import type { Case } from './fixture.ts'

/** Offsets and lengths around everything that is a boundary somewhere. */
export function* awkwardRanges(size: number): Generator<readonly [offset: number, length: number]> {
  const edges = [0, 1, 511, 512, 513, 4095, 4096, 65535, 65536, 65537, size - 513, size - 1]
  for (const offset of edges) {
    for (const length of [1, 2, 511, 512, 513, 4096, 65536]) {
      if (offset >= 0 && offset + length <= size) yield [offset, length]
    }
  }
}

/** What reading promises. */
export const readCases: readonly Case[] = [
  {
    name: 'fills every byte of the buffer, at every alignment',
    run: async (fixture) => {
      const disk = await fixture.open()
      const model = fixture.model(disk)
      for (const [offset, length] of awkwardRanges(disk.size)) {
        for (const filler of [0x00, 0xff]) {
          const buf = new Uint8Array(length).fill(filler)
          await disk.read(offset, buf)
          const fault = model.faultOfRead(offset, buf)
          must(fault === undefined, `read of ${length} at ${offset}: ${fault}`)
        }
      }
    },
  },
  {
    name: 'reads the whole disk in one request',
    run: async (fixture) => {
      const disk = await fixture.open()
      const buf = new Uint8Array(Math.min(disk.size, 2 ** 24)).fill(0xaa)
      await disk.read(0, buf)
      const fault = fixture.model(disk).faultOfRead(0, buf)
      must(fault === undefined, `read of everything: ${fault}`)
    },
  },
  {
    name: 'reads nothing into an empty buffer, anywhere up to the end',
    run: async (fixture) => {
      const disk = await fixture.open()
      for (const offset of [0, 1, Math.floor(disk.size / 2), disk.size]) await disk.read(offset, new Uint8Array(0))
    },
  },
  {
    name: 'refuses to read past its end, and leaves the buffer alone',
    run: async (fixture) => {
      const disk = await fixture.open()
      const buf = new Uint8Array(2).fill(0x77)
      await mustReject(disk.read(disk.size - 1, buf), 'a read across the end')
      await mustReject(disk.read(disk.size + 4096, buf), 'a read behind the end')
      mustBeAll(buf, 0x77, 'the buffer')
    },
  },
  {
    name: 'shows zeroes behind its end to a parent',
    run: async (fixture) => {
      const disk = await fixture.open()
      const buf = new Uint8Array(8192).fill(0x77)
      await disk.edge.read(disk.size - 10, buf)
      mustBeAll(buf.subarray(10), 0, 'bytes behind the end')
      const fault = fixture.model(disk).faultOfRead(disk.size - 10, buf.subarray(0, 10))
      must(fault === undefined, `bytes before the end: ${fault}`)
      await disk.edge.read(disk.size + 1000, buf.fill(0x77))
      mustBeAll(buf, 0, 'bytes far behind the end')
    },
  },
  {
    name: 'serves many readers at once',
    run: async (fixture) => {
      fixture.faults.jitter = fixture.random.fork()
      const disk = await fixture.open()
      const model = fixture.model(disk)
      const ranges = Array.from({ length: 60 }, () => {
        const offset = fixture.random.below(disk.size)
        return {
          offset,
          buf: new Uint8Array(Math.min(disk.size - offset, fixture.random.between(1, 70000))).fill(0x55),
        }
      })
      await Promise.all(ranges.map(({ offset, buf }) => disk.read(offset, buf)))
      for (const { offset, buf } of ranges) {
        const fault = model.faultOfRead(offset, buf)
        must(fault === undefined, `read of ${buf.length} at ${offset}: ${fault}`)
      }
    },
  },
  {
    name: 'refuses a request whose signal is aborted, and goes on after one that is aborted under way',
    run: async (fixture) => {
      fixture.faults.jitter = fixture.random.fork()
      const disk = await fixture.open()
      await mustReject(disk.read(0, new Uint8Array(512), 0, AbortSignal.abort()), 'a read after abort', ['ECANCELED'])
      for (let turns = 0; turns < 12; turns++) {
        const controller = new AbortController()
        const reading = disk.read(0, new Uint8Array(4096), 0, controller.signal)
        for (let i = 0; i < turns; i++) await undefined
        controller.abort()
        await reading.catch((error: { code?: string }) => must(error.code === 'ECANCELED', `aborted: ${error.code}`))
      }
      const buf = new Uint8Array(4096)
      await disk.read(0, buf)
      const fault = fixture.model(disk).faultOfRead(0, buf)
      must(fault === undefined, `read after aborted reads: ${fault}`)
    },
  },
  {
    name: 'changes nothing below while it is open read-only',
    needs: ['readOnly'],
    run: async (fixture) => {
      const before = [...fixture.files.byName].map(([name, file]) => ({
        name,
        bytes: file.bytes(),
        changes: file.changes,
      }))
      const disk = await fixture.open({ readOnly: true })
      must(disk.readOnly, 'the node is not read-only')
      await disk.read(0, new Uint8Array(Math.min(disk.size, 70000)))
      await mustReject(disk.write(0, new Uint8Array(512)), 'a write', ['EPERM', 'EROFS', 'EACCES'])
      await disk.close()
      for (const { name, bytes, changes } of before) {
        must(fixture.files.file(name).changes === changes, `the file '${name}' was written to`)
        mustEqual(fixture.files.file(name).bytes(), bytes, `the file '${name}'`)
      }
    },
  },
]
