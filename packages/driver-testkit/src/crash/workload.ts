import { type Disk, Graph } from '@diskgraph/core'
import { type DriverDescriptor, errorCodeOf, Flag } from '@diskgraph/core/driver'
import type { Definition } from '../conformance/fixture.ts'
import { Faults } from '../faults.ts'
import { MemoryFiles } from '../memory-files.ts'
import type { PagedFile } from '../paged-file.ts'
import type { Random } from '../random.ts'
import { GuestLog } from './guest-log.ts'
import { type RecordedCall, Recording } from './recorder.ts'
import { readStamp, sectorSize, stamp } from './stamps.ts'

/** The kinds of operations of a guest in a crash test. */
export type GuestKind =
  | 'write'
  | 'cluster'
  | 'compressed'
  | 'zeroes'
  | 'discard'
  | 'flush'
  | 'snapshot'
  | 'unsnapshot'
  | 'revert'
  | 'grow'

/** What is done before the crash. */
export interface Workload {
  readonly driver: DriverDescriptor
  readonly drivers?: readonly DriverDescriptor[]
  readonly options?: Definition
  readonly createOptions?: Definition
  /** Size of the disk, a multiple of 64 KiB. Default 4 MiB. */
  readonly size?: number
  /** Unit of the whole-cluster operations. Default 65536. */
  readonly cluster?: number
  /** Default 150. */
  readonly operations?: number
  /** Default 4. */
  readonly atOnce?: number
  readonly weights?: Readonly<Partial<Record<GuestKind, number>>>
  /** Stamped content of a file called `base` in memory, given to the node as the child of this name. */
  readonly backing?: string
}

/** A recording of a workload: all that is needed to make crash states and judge them. */
export interface RecordedWorkload {
  /** The files before the recording began. */
  readonly files: ReadonlyMap<string, PagedFile>
  readonly calls: readonly RecordedCall[]
  readonly guest: GuestLog
  /** The clock at the end. */
  readonly end: number
}

const defaultWeights: Readonly<Record<GuestKind, number>> = {
  write: 10,
  cluster: 4,
  compressed: 0,
  zeroes: 2,
  discard: 2,
  flush: 2,
  snapshot: 0,
  unsnapshot: 0,
  revert: 0,
  grow: 0,
}

/** A disk that grows becomes at most this times as large. */
const mostGrowth = 2

/** The definition of the image over the file `image` in memory; with `storage` between them. */
export function imageDefinition(workload: Workload, storage: Definition): Definition {
  const backing = workload.backing === undefined ? {} : { [workload.backing]: { driver: 'testkit-file', name: 'base' } }
  return { driver: workload.driver.name, discard: 'unmap', ...workload.options, file: storage, ...backing }
}

/** Creates an image, runs random operations of a guest on it, and records what reaches the storage. */
export async function recordWorkload(workload: Workload, random: Random): Promise<RecordedWorkload> {
  const memory = new MemoryFiles()
  const faults = new Faults()
  const recording = new Recording()
  const { driver, drivers = [], createOptions = {}, size = 2 ** 22 } = workload
  const graph = new Graph({
    drivers: [driver, ...drivers, memory.driver, faults.driver, recording.driver],
    onWarning: () => undefined,
  })
  memory.put('image')
  const initial = new Int32Array((size * mostGrowth) / sectorSize)
  if (workload.backing !== undefined) putBase(memory, initial.subarray(0, size / sectorSize))
  const storage = { driver: 'testkit-file', name: 'image' }
  if (driver.create === undefined) memory.file('image').truncate(size)
  else await graph.createUnchecked({ driver: driver.name, size, ...createOptions, file: storage })
  const files = new Map([...memory.byName].map(([name, file]) => [name, file.clone()]))
  faults.jitter = random.fork()
  const below = { driver: 'testkit-fault', file: storage }
  const recorder = { driver: 'testkit-recorder', as: 'image', file: below }
  const disk = await graph.addUnchecked(imageDefinition(workload, recorder))
  const guest = new Guest(disk, recording, new GuestLog(initial, size), workload, random)
  await guest.run()
  await graph.close()
  return { files, calls: recording.calls, guest: guest.log, end: recording.now }
}

function putBase(memory: MemoryFiles, initial: Int32Array): void {
  const bytes = new Uint8Array(initial.length * sectorSize)
  stamp(bytes, 0, 1)
  memory.put('base').write(0, bytes)
  initial.fill(1)
}

/** Operations that run while no other does. */
const alone: ReadonlySet<GuestKind> = new Set(['snapshot', 'unsnapshot', 'revert', 'grow'])

type Step = { readonly kind: GuestKind; readonly first: number; readonly count: number }

class Guest {
  readonly log: GuestLog
  readonly #disk: Disk
  readonly #recording: Recording
  readonly #workload: Workload
  readonly #random: Random
  #sectors: number
  readonly #cluster: number
  #operation = 1
  #named = 0
  /** The content of the disk when each snapshot was taken. */
  readonly #snapshots = new Map<string, Int32Array>()

  constructor(disk: Disk, recording: Recording, log: GuestLog, workload: Workload, random: Random) {
    this.#disk = disk
    this.#recording = recording
    this.log = log
    this.#workload = workload
    this.#random = random
    this.#sectors = disk.size / sectorSize
    this.#cluster = (workload.cluster ?? 65536) / sectorSize
  }

  async run(): Promise<void> {
    const { operations = 150, atOnce = 4 } = this.#workload
    for (let done = 0; done < operations; ) {
      const steps = this.#batch(this.#random.chance(0.5) ? 1 : this.#random.between(1, atOnce))
      done += steps.length
      const results = await Promise.allSettled(steps.map((step) => this.#perform(step)))
      for (const result of results) if (result.status === 'rejected') throw result.reason
    }
    await this.#asFlush(() => this.#disk.close())
  }

  /** Some operations that do not touch the same sectors; a snapshot is alone. */
  #batch(most: number): Step[] {
    const steps: Step[] = []
    while (steps.length < most) {
      const step = this.#step()
      if (alone.has(step.kind)) return steps.length === 0 ? [step] : steps
      const meets = steps.some(
        (other) => step.first < other.first + other.count && other.first < step.first + step.count,
      )
      if (!meets) steps.push(step)
      else if (steps.length > 0) return steps
    }
    return steps
  }

  #step(): Step {
    const random = this.#random
    const kind = random.weighted<GuestKind>({ ...defaultWeights, ...this.#workload.weights })
    if (kind === 'flush' || alone.has(kind)) return { kind, first: 0, count: 0 }
    const whole = kind === 'cluster' || kind === 'compressed' || random.chance(0.2)
    const unit = whole ? this.#cluster : 1
    const count = Math.min(this.#sectors, unit * random.between(1, whole ? 3 : 24))
    const first = random.below(Math.floor((this.#sectors - count) / unit) + 1) * unit
    return { kind, first, count: kind === 'compressed' ? unit : count }
  }

  async #perform({ kind, first, count }: Step): Promise<void> {
    if (kind === 'flush') return this.#asFlush(() => this.#disk.flush())
    if (kind === 'grow') return this.#grow()
    if (alone.has(kind)) return this.#changeSnapshots(kind)
    const start = this.#recording.tick()
    const offset = first * sectorSize
    const length = count * sectorSize
    const ids = new Int32Array(count)
    if (kind === 'zeroes') await this.#disk.writeZeroes(offset, length, this.#random.chance(0.7) ? Flag.MayUnmap : 0)
    else if (kind === 'discard') await this.#disk.discard(offset, length)
    else {
      const buf = new Uint8Array(length)
      ids.fill(++this.#operation)
      stamp(buf, first, this.#operation)
      if (kind === 'compressed') {
        if (!(await this.#writeCompressed(offset, buf))) return
      } else await this.#disk.write(offset, buf)
    }
    const end = this.#recording.tick()
    if (kind === 'discard') await this.#learn(first, ids)
    this.log.changes.push({ first, ids, start, end })
  }

  /** False, and nothing has changed, where the format takes compressed data for unwritten clusters only. */
  async #writeCompressed(offset: number, buf: Uint8Array): Promise<boolean> {
    try {
      await this.#disk.write(offset, buf, Flag.Compressed)
      return true
    } catch (error) {
      if (errorCodeOf(error) !== 'EIO') throw error
      return false
    }
  }

  /** What a discard leaves is up to the driver; but it stays that way. */
  async #learn(first: number, ids: Int32Array): Promise<void> {
    const buf = new Uint8Array(ids.length * sectorSize)
    await this.#disk.read(first * sectorSize, buf)
    for (let i = 0; i < ids.length; i++) ids[i] = readStamp(buf, i * sectorSize, first + i)
  }

  async #asFlush(work: () => Promise<void>): Promise<void> {
    const start = this.#recording.tick()
    await work()
    this.log.flushes.push({ start, end: this.#recording.tick() })
  }

  async #grow(): Promise<void> {
    const most = this.log.sectors * sectorSize
    const size = Math.min(most, this.#disk.size + this.#random.between(1, 32) * this.#cluster * sectorSize)
    const start = this.#recording.tick()
    await this.#disk.truncate(size)
    this.log.sizes.push({ size, start, end: this.#recording.tick() })
    this.#sectors = size / sectorSize
  }

  async #changeSnapshots(kind: GuestKind): Promise<void> {
    if (this.#disk.node.image.snapshots === undefined) return
    const { snapshots } = this.#disk
    const known = snapshots.list()
    if (kind === 'snapshot' && known.length < 3) {
      const ids = new Int32Array(this.#sectors)
      await this.#learn(0, ids)
      this.#snapshots.set((await snapshots.create({ name: `s${++this.#named}` })).id, ids)
    } else if (kind !== 'snapshot' && known.length > 0) {
      const { id } = this.#random.pick(known)
      const start = this.#recording.tick()
      if (kind === 'unsnapshot') await snapshots.delete(id)
      else {
        await snapshots.apply(id)
        const ids = this.#snapshots.get(id) as Int32Array
        this.log.changes.push({ first: 0, ids, start, end: this.#recording.tick() })
      }
    }
  }
}
