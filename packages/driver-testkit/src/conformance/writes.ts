import { Flag } from '@diskgraph/core/driver'
import { must, mustBeAll, mustEqual, mustReject } from '../assertions.ts'
import { compareWhole, performBatch } from '../exercise.ts'
import type { Case } from './fixture.ts'
import { awkwardRanges } from './reads.ts'

/** What writing, zeroing and discarding promise. */
export const writeCases: readonly Case[] = [
  {
    name: 'reads back what was written, at every alignment, and keeps the neighbours',
    needs: ['write', 'persistence'],
    run: async (fixture) => {
      const disk = await fixture.open()
      const model = fixture.model(disk)
      for (const [offset, length] of awkwardRanges(disk.size)) {
        await performBatch(disk, model, [{ kind: 'write', offset, data: fixture.random.bytes(length), flags: 0 }])
      }
      await compareWhole(disk, model, 'after all writes')
    },
  },
  {
    name: 'takes an empty write, and refuses one past its end',
    needs: ['write'],
    run: async (fixture) => {
      const disk = await fixture.open()
      const { size } = disk
      await disk.write(0, new Uint8Array(0))
      await disk.write(size, new Uint8Array(0))
      await mustReject(disk.write(size - 1, new Uint8Array(2)), 'a write across the end')
      must(disk.size === size, `the size changed from ${size} to ${disk.size}`)
      await compareWhole(disk, fixture.model(disk), 'afterwards')
    },
  },
  {
    name: 'writes the last byte',
    needs: ['write'],
    run: async (fixture) => {
      const disk = await fixture.open()
      await performBatch(disk, fixture.model(disk), [
        { kind: 'write', offset: disk.size - 1, data: new Uint8Array([0x99]), flags: 0 },
      ])
    },
  },
  {
    name: 'loses none of many small writes at once into the same block',
    needs: ['write', 'persistence'],
    run: async (fixture) => {
      fixture.faults.jitter = fixture.random.fork()
      const disk = await fixture.open()
      const model = fixture.model(disk)
      for (const step of [64, 512, 1000, 4096]) {
        const start = fixture.random.below(Math.max(1, disk.size - 40 * step))
        const batch = Array.from({ length: 40 }, (_, i) => start + i * step)
          .filter((offset) => offset + step <= disk.size)
          .map((offset) => ({ kind: 'write', offset, data: fixture.random.bytes(step), flags: 0 }) as const)
        await performBatch(disk, model, batch)
      }
      await compareWhole(disk, model, 'after all writes')
    },
  },
  {
    name: 'takes a write with FUA, and every flush',
    needs: ['write', 'persistence'],
    run: async (fixture) => {
      const disk = await fixture.open()
      await disk.flush()
      await disk.write(4096, new Uint8Array(512).fill(3), Flag.Fua)
      await Promise.all([disk.flush(), disk.flush()])
      const buf = new Uint8Array(512)
      await disk.read(4096, buf)
      mustBeAll(buf, 3, 'what was written')
    },
  },
  {
    name: 'reads as zeroes where zeroes were written, whatever the flags, and keeps the neighbours',
    needs: ['write', 'persistence'],
    run: async (fixture) => {
      const disk = await fixture.open()
      const model = fixture.model(disk)
      for (const flags of [0, Flag.MayUnmap, Flag.Fua, Flag.MayUnmap | Flag.Fua]) {
        for (const [offset, length] of awkwardRanges(disk.size)) {
          const at = Math.max(0, offset - 100)
          const data = fixture.random.bytes(Math.min(length + 200, disk.size - at))
          await performBatch(disk, model, [{ kind: 'write', offset: at, data, flags: 0 }])
          await performBatch(disk, model, [{ kind: 'zeroes', offset, length, flags }])
        }
        await performBatch(disk, model, [{ kind: 'zeroes', offset: 0, length: disk.size, flags }])
      }
      await compareWhole(disk, model, 'after all zeroes')
    },
  },
  {
    name: 'makes zeroes without writing them out',
    needs: ['zeroes', 'persistence'],
    run: async (fixture) => {
      const disk = await fixture.open()
      const model = fixture.model(disk)
      await performBatch(disk, model, [{ kind: 'write', offset: 0, data: fixture.random.bytes(200000), flags: 0 }])
      const zeroes = { kind: 'zeroes', offset: 65536, length: 65536, flags: Flag.NoFallback | Flag.MayUnmap } as const
      await performBatch(disk, model, [zeroes])
      await compareWhole(disk, model, 'afterwards')
    },
  },
  {
    name: 'refuses zeroes that it would have to write out, and changes nothing',
    needs: ['write', 'persistence'],
    lacks: ['zeroes'],
    run: async (fixture) => {
      const disk = await fixture.open()
      const model = fixture.model(disk)
      await performBatch(disk, model, [{ kind: 'write', offset: 0, data: fixture.random.bytes(200000), flags: 0 }])
      const attempt = disk.writeZeroes(65536, 65536, Flag.NoFallback | Flag.MayUnmap)
      await mustReject(attempt, 'zeroes without fallback', ['ENOTSUP'])
      await compareWhole(disk, model, 'afterwards')
    },
  },
  {
    name: 'reads a discarded range as before or as zeroes, and keeps the neighbours',
    needs: ['discard', 'persistence'],
    run: async (fixture) => {
      const disk = await fixture.open()
      const model = fixture.model(disk)
      for (const [offset, length] of awkwardRanges(disk.size)) {
        const at = Math.max(0, offset - 100)
        const data = fixture.random.bytes(Math.min(length + 200, disk.size - at))
        await performBatch(disk, model, [{ kind: 'write', offset: at, data, flags: 0 }])
        await performBatch(disk, model, [{ kind: 'discard', offset, length }])
      }
      await performBatch(disk, model, [{ kind: 'discard', offset: 0, length: disk.size }])
      await compareWhole(disk, model, 'after all discards')
    },
  },
  {
    name: 'copies ranges of itself without help',
    needs: ['write', 'persistence', 'copyRange'],
    run: async (fixture) => {
      const disk = await fixture.open()
      const model = fixture.model(disk)
      const data = fixture.random.bytes(100_000)
      await performBatch(disk, model, [{ kind: 'write', offset: 1000, data, flags: 0 }])
      await disk.edge.copyRange(0, disk.edge, 300_000, 150_000)
      model.bytes.copyWithin(300_000, 0, 150_000)
      await compareWhole(disk, model, 'after copying')
    },
  },
  {
    name: 'keeps what was written across close and open',
    needs: ['write', 'persistence'],
    run: async (fixture) => {
      const disk = await fixture.open()
      const model = fixture.model(disk)
      for (const [offset, length] of awkwardRanges(disk.size)) {
        await performBatch(disk, model, [{ kind: 'write', offset, data: fixture.random.bytes(length), flags: 0 }])
      }
      await disk.close()
      const again = await fixture.open()
      must(again.size === model.bytes.length, `the size is ${again.size} instead of ${model.bytes.length}`)
      await compareWhole(again, model, 'after opening again')
    },
  },
  {
    name: 'keeps what was flushed when it is never closed',
    needs: ['write', 'persistence', 'file'],
    run: async (fixture) => {
      const disk = await fixture.open()
      const model = fixture.model(disk)
      for (const [offset, length] of awkwardRanges(disk.size)) {
        await performBatch(disk, model, [{ kind: 'write', offset, data: fixture.random.bytes(length), flags: 0 }])
      }
      await disk.flush()
      const copies = [...fixture.files.byName].map(([name, file]) => [name, file.clone()] as const)
      await disk.close()
      for (const [name, file] of copies) fixture.files.put(name, file)
      await compareWhole(await fixture.open(), model, 'after a crash')
    },
  },
  {
    name: 'gives zeroes for what truncate adds, and keeps the rest',
    needs: ['grow', 'persistence'],
    run: async (fixture) => {
      const disk = await fixture.open()
      const { size } = disk
      const data = fixture.random.bytes(size)
      await disk.write(0, data)
      await disk.truncate(size + 512 * 300)
      must(disk.size === size + 512 * 300, `the size is ${disk.size} instead of ${size + 512 * 300}`)
      const buf = new Uint8Array(disk.size).fill(0x77)
      await disk.read(0, buf)
      mustEqual(buf.subarray(0, size), data, 'the old part')
      mustBeAll(buf.subarray(size), 0, 'the new part')
      await disk.write(disk.size - 512, new Uint8Array(512).fill(1))
      await disk.close()
      must((await fixture.open()).size === size + 512 * 300, 'the new size is lost on close')
    },
  },
  {
    name: 'forgets what truncate cuts off',
    needs: ['grow', 'shrink', 'persistence'],
    run: async (fixture) => {
      const disk = await fixture.open()
      const { size } = disk
      const half = Math.floor(size / 1024) * 512
      const data = fixture.random.bytes(size)
      await disk.write(0, data)
      await disk.truncate(half)
      must(disk.size === half, `the size is ${disk.size} instead of ${half}`)
      await disk.truncate(size)
      const buf = new Uint8Array(size).fill(0x77)
      await disk.read(0, buf)
      mustEqual(buf.subarray(0, half), data.subarray(0, half), 'the part that was kept')
      mustBeAll(buf.subarray(half), 0, 'the part that was cut off')
    },
  },
]
