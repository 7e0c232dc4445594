/** Zeroes where a backing file has ended, or where there is none. */
import { truncateSync } from 'node:fs'
import { Flag } from '@diskgraph/core'
import { peer } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { Folder, newGraph, open, qemuCheck, run } from '../images.ts'

const KiB = 1024

/** Ranges in KiB that are written with zeroes, in order. */
const writes: readonly (readonly [number, number])[] = [
  [110, 10],
  [192, 64],
  [300, 100],
  [448, 30],
  [500, 12],
]

interface Extent {
  readonly start: number
  length: number
}

/** Where the image, and not a file below it, decides. */
function present(name: string): Extent[] {
  const map: readonly (Extent & { readonly depth: number; readonly present: boolean })[] = JSON.parse(
    run('qemu-img', 'map', '--output=json', name),
  )
  const merged: Extent[] = []
  for (const { start, length } of map.filter((extent) => extent.present && extent.depth === 0)) {
    const last = merged.at(-1)
    if (last !== undefined && last.start + last.length === start) last.length += length
    else merged.push({ start, length })
  }
  return merged
}

peer('qemu-img', { describe, it }).describe('zeroes over a short backing file', () => {
  for (const compat of ['0.10', '1.1']) {
    for (const base of [100, 128, 20]) {
      it(`are stored in an image of compat ${compat} behind ${base} KiB, so that they stay when the backing file grows`, async () => {
        using folder = new Folder()
        const [backing, ours, theirs] = [folder.file('base'), folder.file('ours'), folder.file('theirs')]
        run('qemu-img', 'create', '-q', '-f', 'raw', backing, `${base}k`)
        run('qemu-io', '-f', 'raw', '-c', `write -P 7 0 ${base}k`, backing)
        for (const name of [ours, theirs]) {
          const options = ['-o', `compat=${compat}`, '-b', backing, '-F', 'raw']
          run('qemu-img', 'create', '-q', '-f', 'qcow2', ...options, name, '512k')
        }
        await using graph = newGraph()
        const disk = await open(graph, ours)
        for (const [offset, length] of writes) await disk.writeZeroes(offset * KiB, length * KiB)
        await disk.close()
        const commands = writes.flatMap(([offset, length]) => ['-c', `write -z ${offset}k ${length}k`])
        run('qemu-io', '-f', 'qcow2', ...commands, theirs)
        expect(present(ours)).toEqual(present(theirs))
        truncateSync(backing, 512 * KiB)
        run('qemu-io', '-f', 'raw', '-c', `write -P 9 ${base}k ${512 - base}k`, backing)
        expect(run('qemu-img', 'compare', '-f', 'qcow2', '-F', 'qcow2', ours, theirs)).toContain('identical')
        for (const [offset, length] of writes) {
          expect(run('qemu-io', '-f', 'qcow2', '-c', `read -P 0 ${offset}k ${length}k`, ours)).not.toContain('failed')
        }
        expect(qemuCheck(ours)).toMatchObject({ code: 0 })
      })
    }
  }

  it('are not stored as data where no data may be written', async () => {
    using folder = new Folder()
    const [backing, ours] = [folder.file('base'), folder.file('ours')]
    run('qemu-img', 'create', '-q', '-f', 'raw', backing, '100k')
    run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'compat=0.10', '-b', backing, '-F', 'raw', ours, '512k')
    await using graph = newGraph()
    const disk = await open(graph, ours)
    await expect(disk.writeZeroes(192 * KiB, 64 * KiB, Flag.NoFallback)).rejects.toMatchObject({ code: 'ENOTSUP' })
  })
})
