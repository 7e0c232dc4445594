/** Random histories of writes and snapshots, by this driver and by the real tools in turn, against a model. */
import { type Disk, Flag } from '@diskgraph/core'
import { peer, Random, randomSeed } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { create, Folder, newGraph, open, qemuCheck, run } from './images.ts'

const seed = randomSeed()
const KiB = 1024

interface Saved {
  readonly name: string
  readonly content: Uint8Array
}

/** An image, what its disk holds, and what its snapshots hold. */
class History {
  readonly random: Random
  readonly name: string
  readonly cluster: number
  readonly version3: boolean
  content: Uint8Array
  saved: Saved[] = []
  private count = 0

  constructor(name: string, random: Random, size: number, cluster: number, version3: boolean) {
    this.name = name
    this.random = random
    this.cluster = cluster
    this.version3 = version3
    this.content = new Uint8Array(size)
  }

  private range(): [number, number] {
    const { random, content } = this
    const offset = random.below(content.length / 512) * 512
    const longest = Math.min(content.length - offset, this.cluster * 5)
    return [offset, Math.max(512, random.below(longest / 512 + 1) * 512)]
  }

  private clusters(): [number, number] {
    const [offset, length] = this.range()
    const start = Math.floor(offset / this.cluster) * this.cluster
    return [start, Math.min(Math.ceil(length / this.cluster) * this.cluster, this.content.length - start)]
  }

  /** One operation by this driver. */
  async step(disk: Disk): Promise<void> {
    const { random, content } = this
    switch (random.below(13)) {
      case 0:
      case 1:
      case 2: {
        const [offset, length] = this.range()
        const byte = random.below(255) + 1
        content.fill(byte, offset, offset + length)
        return disk.write(offset, new Uint8Array(length).fill(byte))
      }
      case 3: {
        return this.compress(disk, random.below(255) + 1)
      }
      case 4: {
        const [offset, length] = this.range()
        content.fill(0, offset, offset + length)
        return disk.writeZeroes(offset, length, random.below(2) === 0 ? 0 : Flag.MayUnmap)
      }
      case 5: {
        const [offset, length] = this.clusters()
        content.fill(0, offset, offset + length)
        return disk.discard(offset, length)
      }
      case 6:
        return disk.flush()
      case 7:
        if (!this.version3 && this.saved.length > 0) return
        return this.resize(disk)
      case 8:
        await disk.compact()
        return
      default:
        return this.snapshotStep(disk)
    }
  }

  /** Only a cluster that has not been written takes compressed data. */
  private async compress(disk: Disk, byte: number): Promise<void> {
    const [offset] = this.clusters()
    const length = Math.min(this.cluster, this.content.length - offset)
    try {
      await disk.write(offset, new Uint8Array(length).fill(byte), Flag.Compressed)
    } catch (error) {
      expect(error).toMatchObject({ code: 'EIO' })
      return
    }
    this.content.fill(byte, offset, offset + length)
  }

  private async resize(disk: Disk): Promise<void> {
    const size = (this.random.below(64) + 1) * 16 * KiB
    await disk.truncate(size)
    const next = new Uint8Array(size)
    next.set(this.content.subarray(0, size))
    this.content = next
  }

  private async snapshotStep(disk: Disk): Promise<void> {
    const { random, saved } = this
    const choice = random.below(3)
    if (choice === 0 || saved.length === 0) {
      const name = `snapshot ${++this.count}`
      await disk.snapshots.create({ name })
      saved.push({ name, content: this.content.slice() })
      return
    }
    const index = random.below(saved.length)
    const { name, content } = saved[index]!
    if (choice === 1) {
      await disk.snapshots.apply(name)
      this.content = content.slice()
    } else {
      await disk.snapshots.delete(name)
      saved.splice(index, 1)
    }
  }

  /** One snapshot operation by the real qemu-img. */
  peerStep(): void {
    const { random, saved, name } = this
    const choice = random.below(3)
    if (choice === 0 || saved.length === 0) {
      const snapshot = `snapshot ${++this.count}`
      run('qemu-img', 'snapshot', '-c', snapshot, name)
      saved.push({ name: snapshot, content: this.content.slice() })
      return
    }
    const index = random.below(saved.length)
    const target = saved[index]!
    run('qemu-img', 'snapshot', choice === 1 ? '-a' : '-d', target.name, name)
    if (choice === 1) this.content = target.content.slice()
    else saved.splice(index, 1)
  }

  async verify(disk: Disk): Promise<void> {
    const buf = new Uint8Array(disk.size)
    await disk.read(0, buf)
    expect(buf.length).toBe(this.content.length)
    const wrong = buf.findIndex((byte, i) => byte !== this.content[i])
    expect(wrong).toBe(-1)
    expect(disk.snapshots.list().map((snapshot) => snapshot.name)).toEqual(this.saved.map((snapshot) => snapshot.name))
  }
}

const variants = [
  { cluster: 65536, options: {} },
  { cluster: 512, options: {} },
  { cluster: 4096, options: { refcountBits: 64 } },
  { cluster: 4096, options: { compat: 'v2' } },
  { cluster: 2048, options: { lazyRefcounts: true } },
  { cluster: 1024, options: { refcountBits: 8 } },
  { cluster: 16384, options: { extendedL2: true } },
]

peer('qemu-img', { describe, it }).describe(`random histories (seed ${seed})`, () => {
  for (const [number, { cluster, options }] of variants.entries()) {
    it(`keep images of ${cluster}-byte clusters and ${JSON.stringify(options)} clean, with all that snapshots hold`, async () => {
      for (let round = 0; round < 2; round++) {
        using folder = new Folder()
        const random = new Random(seed + number * 100 + round)
        const name = folder.file('a.qcow2')
        const history = new History(name, random, 700 * KiB, cluster, options.compat !== 'v2')
        await using graph = newGraph()
        await create(graph, name, { size: history.content.length, clusterSize: cluster, ...options })
        for (let session = 0; session < 6; session++) {
          const disk = await open(graph, name, { discard: 'unmap' })
          await history.verify(disk)
          for (let i = random.below(15); i >= 0; i--) await history.step(disk)
          await history.verify(disk)
          await disk.close()
          expect(qemuCheck(name)).toMatchObject({ code: 0 })
          if (random.below(2) === 0) {
            history.peerStep()
            expect(qemuCheck(name)).toMatchObject({ code: 0 })
          }
        }
      }
    })
  }
})
