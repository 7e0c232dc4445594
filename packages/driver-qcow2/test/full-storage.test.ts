/** A storage that runs full: what was acknowledged and flushed stays, and the disk goes on when there is space again. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { BlockError, type Disk, Flag, Graph } from '@diskgraph/core'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { Random, randomSeed } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { Folder, haveQemu, newGraph, qemuCheck } from './images.ts'
import { LimitedFile } from './limited-file.ts'

const seed = randomSeed()
const MiB = 1024 * 1024
const piece = 4096

/** How an image is filled. */
interface Filling {
  readonly name: string
  readonly clusterSize: number
  readonly refcountBits: number
  readonly compressed?: boolean
  readonly snapshots?: boolean
  readonly lazyRefcounts?: boolean
}

const fillings: Filling[] = []
for (const clusterSize of [512, 4096, 65536]) {
  for (const refcountBits of [1, 16, 64]) {
    const name = `clusters of ${clusterSize} and counts of ${refcountBits} bits`
    fillings.push({ name, clusterSize, refcountBits })
    fillings.push({ name: `${name}, compressed`, clusterSize, refcountBits, compressed: true })
    if (refcountBits > 1) fillings.push({ name: `${name}, snapshots`, clusterSize, refcountBits, snapshots: true })
  }
  const name = `clusters of ${clusterSize}, lazy counts`
  fillings.push({ name, clusterSize, refcountBits: 16, lazyRefcounts: true })
}

/** Writes to an image until the storage is full and on, and knows what has to be there afterwards. */
class Filler {
  readonly random: Random
  readonly filling: Filling
  readonly size: number
  /** The byte that fills each piece that was acknowledged. */
  readonly model = new Map<number, number>()
  /** Pieces of which a later write has failed: either content is right. */
  readonly doubtful = new Set<number>()
  refused = 0

  constructor(filling: Filling) {
    this.random = new Random(seed)
    this.filling = filling
    this.size = filling.clusterSize === 65536 ? 64 * 1024 * MiB : 256 * MiB
  }

  async step(disk: Disk): Promise<void> {
    const { random, filling } = this
    const choice = random.below(16)
    if (choice === 0) return disk.flush()
    if (choice === 1 && filling.snapshots === true && random.below(4) === 0) return this.snapshot(disk)
    const compressed = filling.compressed === true && choice < 10
    const unit = compressed ? Math.max(filling.clusterSize, piece) : piece
    const known = [...this.model.keys()]
    const again = known.length > 0 && choice > 12
    const offset = again ? known[random.below(known.length)]! : random.below(this.size / unit) * unit
    if (compressed && again) return
    const byte = choice === 2 && !compressed ? 0 : random.below(255) + 1
    const length = compressed ? unit : piece
    try {
      if (byte === 0) await disk.writeZeroes(offset, length, random.below(2) === 0 ? 0 : Flag.MayUnmap)
      else await disk.write(offset, new Uint8Array(length).fill(byte), compressed ? Flag.Compressed : 0)
    } catch (error) {
      this.expectRefusal(error)
      for (let at = offset; at < offset + length; at += piece) this.doubtful.add(at)
      return
    }
    for (let at = offset; at < offset + length; at += piece) {
      this.model.set(at, byte)
      this.doubtful.delete(at)
    }
  }

  private async snapshot(disk: Disk): Promise<void> {
    await disk.snapshots.create({ name: 'one' }).catch((error: unknown) => this.expectRefusal(error))
  }

  private expectRefusal(error: unknown): void {
    if (error instanceof BlockError && error.code === 'EIO' && error.message.includes('compressed')) return
    expect(error).toMatchObject({ code: 'ENOSPC' })
    this.refused++
  }

  /** Every piece that was acknowledged reads as it was written. */
  async verify(disk: Disk): Promise<void> {
    let lost = 0
    for (const [offset, byte] of this.model) {
      if (this.doubtful.has(offset)) continue
      const buf = new Uint8Array(piece)
      await disk.read(offset, buf)
      if (!buf.every((value) => value === byte)) lost++
    }
    expect(lost).toBe(0)
  }
}

/** Where an image stands while it is filled. */
interface Place {
  readonly node: Readonly<Record<string, unknown>> & { readonly driver: string }
  newGraph(): Graph
  makeRoom(): void
  check(): void
}

async function fill(filling: Filling, place: Place, steps: number): Promise<void> {
  const filler = new Filler(filling)
  const { clusterSize, refcountBits, lazyRefcounts = false } = filling
  const graph = place.newGraph()
  await graph.createUnchecked({
    driver: 'qcow2',
    file: place.node,
    size: filler.size,
    clusterSize,
    refcountBits,
    lazyRefcounts,
  })
  const disk = await graph.addUnchecked({ driver: 'qcow2', file: place.node })
  for (let i = 0; i < steps || filler.refused < 50; i++) await filler.step(disk)
  await disk.flush()
  await filler.verify(disk)
  const { refused } = filler
  place.makeRoom()
  for (let i = 0; i < 100; i++) await filler.step(disk)
  expect(filler.refused).toBe(refused)
  await disk.flush()
  await graph.close()
  place.check()
  const second = place.newGraph()
  await filler.verify(await second.addUnchecked({ driver: 'qcow2', file: place.node }))
  await second.close()
}

/** Fills an image and closes it without making space; everything acknowledged is there afterwards. */
async function fillAndClose(filling: Filling, place: Place): Promise<void> {
  const filler = new Filler(filling)
  const { clusterSize, refcountBits } = filling
  const graph = place.newGraph()
  await graph.createUnchecked({ driver: 'qcow2', file: place.node, size: filler.size, clusterSize, refcountBits })
  const disk = await graph.addUnchecked({ driver: 'qcow2', file: place.node })
  while (filler.refused < 50) await filler.step(disk)
  await graph.close()
  place.check()
  const second = place.newGraph()
  await filler.verify(await second.addUnchecked({ driver: 'qcow2', file: place.node }))
  await second.close()
}

function inMemory(folder: Folder, capacity: number): Place {
  const file = new LimitedFile(capacity)
  const path = folder.file('copy')
  return {
    node: { driver: 'limited' },
    newGraph: () => new Graph({ drivers: [file.driver, qcow2], onWarning: () => {} }),
    makeRoom: () => {
      file.capacity += (32 * MiB) / piece
    },
    check: () => {
      if (!haveQemu) return
      writeFileSync(path, file.bytes)
      const { code, output } = qemuCheck(path)
      expect([0, 3], output).toContain(code)
    },
  }
}

describe(`a full storage (seed ${seed})`, () => {
  for (const filling of fillings) {
    const capacity = (filling.clusterSize === 65536 ? 8 : 2) * MiB
    it(`loses nothing that was acknowledged, and the disk goes on with more space: ${filling.name}`, async () => {
      using folder = new Folder()
      await fill(filling, inMemory(folder, capacity), 400)
    })

    it(`can be closed without a loss: ${filling.name}`, async () => {
      using folder = new Folder()
      await fillAndClose(filling, inMemory(folder, capacity))
    })
  }
})

/** Whether file systems can be mounted here: by root on Linux. */
function canMount(): boolean {
  if (process.platform !== 'linux' || process.getuid?.() !== 0 || !haveQemu) return false
  using folder = new Folder()
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder.path], { stdio: 'ignore' })
    execFileSync('umount', [folder.path])
    return true
  } catch {
    return false
  }
}

describe.runIf(canMount())(`a full file system (seed ${seed})`, () => {
  for (const filling of fillings) {
    it(`loses nothing that was acknowledged, and the disk goes on with more space: ${filling.name}`, async () => {
      using folder = new Folder()
      const mounted = folder.file('small')
      mkdirSync(mounted)
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', mounted])
      try {
        const filename = join(mounted, 'a')
        const ballast = join(mounted, 'ballast')
        const taken = filling.clusterSize === 65536 ? 0 : 6 * MiB
        writeFileSync(ballast, new Uint8Array(taken))
        writeFileSync(filename, '')
        await fill(
          filling,
          {
            node: { driver: 'file', filename, locking: 'off' },
            newGraph: () => newGraph(),
            makeRoom: () => {
              execFileSync('mount', ['-o', 'remount,size=64m', mounted])
              rmSync(ballast)
            },
            check: () => {
              expect(statSync(filename).size).toBeGreaterThan(0)
              const { code, output } = qemuCheck(filename)
              expect([0, 3], output).toContain(code)
            },
          },
          400,
        )
      } finally {
        // A test that failed has left its file open.
        execFileSync('umount', ['-l', mounted])
      }
    })
  }
})
