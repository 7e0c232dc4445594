/** Operations on a whole image that fail or are aborted at every step, with the disk used on. */

import { type Disk, Flag, Graph } from '@diskgraph/core'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { raw } from '@diskgraph/driver-raw'
import { findTool, MemoryFiles, PagedFile, randomSeed, runTool, storeFile, TempFolder } from '@diskgraph/driver-testkit'
import { afterAll, describe, expect, it } from 'vitest'
import { endAtEveryStep, type WholeOperation } from './every-step.ts'

const seed = Number(process.env.SEED ?? randomSeed())
const KiB = 1024
const folder = await TempFolder.make()
const tool = findTool('qemu-img')
afterAll(() => folder.remove())

async function judge(image: PagedFile, leaksAllowed: boolean): Promise<string | undefined> {
  if (tool === undefined) return undefined
  const path = folder.file('judged')
  storeFile(path, image)
  const name = `json:${JSON.stringify({ driver: 'qcow2', file: { driver: 'file', filename: path }, backing: null })}`
  const { status, stdout, stderr } = await runTool(tool, ['check', name])
  return status === 0 || (leaksAllowed && status === 3) ? undefined : `status ${status}: ${stdout}${stderr}`
}

interface Variant {
  readonly create?: Readonly<Record<string, unknown>>
  readonly snapshots?: boolean
  readonly backing?: boolean
}

const size = 96 * KiB

/** An image with data, shared and zero clusters, with and without clusters of their own, over several L2 tables. */
async function makeFiles({ create, snapshots, backing }: Variant): Promise<ReadonlyMap<string, PagedFile>> {
  const memoryFiles = new MemoryFiles()
  memoryFiles.put('image')
  const graph = new Graph({ drivers: [qcow2, raw, memoryFiles.driver], references: 'allow', onWarning: () => {} })
  const file = { driver: 'testkit-file', name: 'image' }
  const base = backing === true ? { backingFile: 'testkit-file:base', backingFmt: 'raw' } : {}
  for (const name of ['base', 'twin']) memoryFiles.put(name, PagedFile.from(new Uint8Array(size - 4 * KiB).fill(0xbb)))
  await graph.createUnchecked({ driver: 'qcow2', size, clusterSize: 512, ...base, ...create, file })
  const disk = await graph.addUnchecked({ driver: 'qcow2', file })
  await disk.write(0, new Uint8Array(20 * KiB).fill(1))
  await disk.write(40 * KiB, new Uint8Array(20 * KiB).fill(2))
  if (snapshots === true) await disk.snapshots.create({ name: 'one' })
  await disk.writeZeroes(4 * KiB, 8 * KiB)
  await disk.writeZeroes(34 * KiB, 10 * KiB, Flag.MayUnmap)
  await disk.writeZeroes(50 * KiB, 6 * KiB)
  if (snapshots === true) await disk.snapshots.create({ name: 'two' })
  await disk.write(60 * KiB, new Uint8Array(12 * KiB).fill(3))
  await disk.write(2 * KiB, new Uint8Array(1 * KiB).fill(4))
  await graph.close()
  return memoryFiles.byName
}

const amend = (name: string, options: Readonly<Record<string, unknown>>): WholeOperation => ({
  name,
  run: (disk, signal) => disk.amend({ options, signal, force: true }),
})
const truncate = (name: string, to: number, preallocation?: 'metadata' | 'full'): WholeOperation => ({
  name,
  run: (disk, signal) => disk.truncate(to, preallocation === undefined ? {} : { preallocation }, signal),
})

const snapshotOperations: readonly WholeOperation[] = [
  { name: 'create a snapshot', run: (disk) => disk.snapshots.create({ name: 'three' }) },
  { name: 'apply a snapshot', run: (disk) => disk.snapshots.apply('one') },
  { name: 'delete a snapshot', run: (disk) => disk.snapshots.delete('one') },
]

const general: readonly WholeOperation[] = [
  truncate('grow', 3 * size),
  truncate('grow with metadata', 2 * size, 'metadata'),
  truncate('grow in full', 2 * size, 'full'),
  { ...truncate('shrink', size / 3 + 512), losesFrom: size / 3 + 512 },
  { name: 'check and repair leaks', run: (disk, signal) => disk.check({ repair: 'leaks', signal }) },
  { name: 'check and repair all', run: (disk, signal) => disk.check({ repair: 'all', signal }) },
  { name: 'make the file compact', run: (disk, signal) => disk.compact({ signal }) },
  { name: 'forget all data', run: (disk) => disk.node.image.makeEmpty!() },
]

const overBacking: readonly WholeOperation[] = [
  ...general.slice(0, 3),
  { name: 'change the backing file', run: (disk) => disk.node.image.changeBacking!('testkit-file:twin', 'raw') },
]

const version3: readonly WholeOperation[] = [
  amend('go down to version 2', { compat: '0.10' }),
  amend('widen refcounts', { refcountBits: 64 }),
  amend('narrow refcounts', { refcountBits: 2 }),
  amend('amend everything', { refcountBits: 8, size: 2 * size, lazyRefcounts: true }),
]

const version2: readonly WholeOperation[] = [amend('go up to version 3', { compat: '1.1' })]

const variants: readonly (readonly [string, Variant, readonly WholeOperation[]])[] = [
  ['tiny clusters', {}, [...general, ...version3]],
  ['snapshots', { snapshots: true }, [...general, ...version3, ...snapshotOperations]],
  ['a backing file', { backing: true }, [...overBacking, ...version3.slice(0, 1)]],
  [
    'a backing file and snapshots',
    { backing: true, snapshots: true },
    [...version3.slice(0, 1), ...snapshotOperations],
  ],
  ['lazy refcounts', { create: { lazyRefcounts: true } }, [...general, ...version3]],
  ['version 2', { create: { compat: 'v2' }, snapshots: true }, [...snapshotOperations, ...version2]],
]

/** Changes of all kinds that nothing has flushed. */
async function touch(disk: Disk): Promise<void> {
  await disk.write(70 * KiB, new Uint8Array(7 * KiB).fill(5))
  await disk.writeZeroes(8 * KiB, 9 * KiB, Flag.MayUnmap)
  await disk.write(1536, new Uint8Array(3 * KiB).fill(6))
  await disk.discard(55 * KiB, 8 * KiB).catch(() => undefined)
}

describe(`operations that end early (seed ${seed})`, () => {
  for (const [name, variant, operations] of variants) {
    for (const operation of operations) {
      it(`an image with ${name} is as before or as after, and can be used on: ${operation.name}`, async () => {
        const files = await makeFiles(variant)
        const settings = {
          driver: qcow2,
          drivers: [raw],
          files: () => new Map([...files].map(([key, file]) => [key, file.clone()])),
          operations: [operation],
          seed,
          judge,
          judgeEvery: 40,
        }
        const report = await endAtEveryStep(settings)
        const touched = { ...settings, prepare: touch, stride: 3 }
        const again = await endAtEveryStep({ ...touched, codes: ['EIO'] })
        const lasting = await endAtEveryStep({ ...touched, codes: ['ENOSPC'], lasting: true })
        report.findings.push(...again.findings, ...lasting.findings)
        expect(report.findings.slice(0, 5).join('\n')).toBe('')
        expect(report.runs).toBeGreaterThan(0)
      })
    }
  }
})
