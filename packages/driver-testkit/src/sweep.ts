/**
 * The error sweep: every call that a driver makes to its storage fails once, one per run.
 *
 * For each verb the n-th call fails, for n = 1, 2, 3 … until the verb gets through without meeting the fault. Each
 * time somebody must be told: by an error of the verb, of the flush after it or of the close, or, where the verb has
 * done what it promises all the same (clusters that stay allocated, say), by a warning. Afterwards the disk works again or fails
 * cleanly, and opened anew it is consistent, and shows what was written before and is acknowledged since.
 */
import { type Disk, Graph } from '@diskgraph/core'
import { type ErrorCode, errorCodeOf, Flag, isBlockError } from '@diskgraph/core/driver'
import { bugIn } from './bugs.ts'
import { imageDefinition, type Workload } from './crash/workload.ts'
import { Faults } from './faults.ts'
import type { CallKind } from './forward.ts'
import { MemoryFiles } from './memory-files.ts'
import type { PagedFile } from './paged-file.ts'

/** What {@link errorSweep} does. */
export interface SweepSettings extends Pick<Workload, 'driver' | 'drivers' | 'options' | 'createOptions'> {
  /** Default EIO and ENOSPC. */
  readonly codes?: readonly ErrorCode[]
  /** Default 1 MiB. */
  readonly size?: number
  readonly cluster?: number
  /** Calls whose failure need not be reported: hints and questions. Default discard and blockStatus. */
  readonly mayIgnore?: readonly CallKind[]
  /** Only these verbs. Default: all that the driver can do. */
  readonly verbs?: readonly string[]
  /** A judge from outside of the image after a fault: what is wrong, in words. */
  judge?(file: PagedFile): Promise<string | undefined>
  /** Every how many runs the judge is asked. Default 10. */
  readonly judgeEvery?: number
}

/** One run that went wrong. */
export interface SweepFinding {
  readonly kind: 'swallowed' | 'corrupt' | 'lost' | 'unclean'
  readonly verb: string
  readonly nth: number
  readonly code: ErrorCode
  /** The call that failed. */
  readonly call: string
  readonly text: string
}

/** The figures of a sweep. */
export interface SweepReport {
  /** Runs in which a call failed. */
  runs: number
  swallowed: number
  corrupt: number
  lost: number
  /** Failures of another kind: not a BlockError, or nodes left open. */
  unclean: number
  /** Errors that were reported with another code than the storage gave. */
  otherCodes: number
  readonly verbs: Record<string, number>
  readonly findings: SweepFinding[]
}

type Verb = (disk: Disk, cluster: number) => Promise<unknown>

const filled = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value)

/** All leave the first half of the last cluster alone. */
const verbs: Readonly<Record<string, { readonly needs?: string; readonly run: Verb }>> = {
  read: { run: (disk) => disk.read(0, new Uint8Array(disk.size)) },
  write: { needs: 'write', run: (disk, cluster) => disk.write(Math.floor(cluster * 1.5), filled(cluster * 3, 0x77)) },
  'write in place': { needs: 'write', run: (disk) => disk.write(100, filled(1000, 0x77)) },
  'write zeroes': { needs: 'writeZeroes', run: (disk, cluster) => disk.writeZeroes(cluster / 2, cluster * 2) },
  'write zeroes, unmapping': {
    needs: 'writeZeroes',
    run: (disk, cluster) => disk.writeZeroes(0, cluster * 3, Flag.MayUnmap),
  },
  discard: { needs: 'discard', run: (disk, cluster) => disk.discard(0, cluster * 3) },
  'several writes at once': {
    needs: 'write',
    run: async (disk, cluster) => {
      const writes = [1, 3, 5].map((i) => disk.write(i * cluster, filled(cluster, 0x77)))
      for (const result of await Promise.allSettled(writes)) if (result.status === 'rejected') throw result.reason
    },
  },
  grow: { needs: 'truncate', run: (disk, cluster) => disk.truncate(disk.size + 64 * cluster) },
  'create snapshot': { needs: 'snapshots', run: (disk) => disk.snapshots.create({ name: 'new' }) },
  'delete snapshot': { needs: 'snapshots', run: (disk) => disk.snapshots.delete('old') },
  'apply snapshot': { needs: 'snapshots', run: (disk) => disk.snapshots.apply('old') },
  'check and repair': { needs: 'check', run: (disk) => disk.check({ repair: 'all' }) },
}

/** Runs a sweep; see the top of the file. */
export async function errorSweep(settings: SweepSettings): Promise<SweepReport> {
  const report: SweepReport = {
    runs: 0,
    swallowed: 0,
    corrupt: 0,
    lost: 0,
    unclean: 0,
    otherCodes: 0,
    verbs: {},
    findings: [],
  }
  const sweep = new Sweep(settings, report)
  await sweep.prepare()
  for (const code of settings.codes ?? (['EIO', 'ENOSPC'] as const)) {
    for (const verb of sweep.verbs()) await sweep.verb(verb, code)
  }
  return report
}

class Sweep {
  readonly #settings: SweepSettings
  readonly #report: SweepReport
  readonly #cluster: number
  #image: PagedFile | undefined
  #capabilities = new Set<string>()
  #content = new Uint8Array(0)

  constructor(settings: SweepSettings, report: SweepReport) {
    this.#settings = settings
    this.#report = report
    this.#cluster = settings.cluster ?? 65536
  }

  /** Makes the image that every run starts from: some data, and a snapshot where there are snapshots. */
  async prepare(): Promise<void> {
    const world = new World(this.#settings)
    await world.create()
    const disk = await world.open()
    for (const name of ['write', 'writeZeroes', 'discard', 'truncate', 'snapshots', 'check'] as const) {
      if (disk.node.image[name] !== undefined) this.#capabilities.add(name)
    }
    await disk.write(0, filled(this.#cluster * 2, 0x11))
    await disk.write(disk.size - this.#cluster, filled(this.#cluster / 2, 0x33))
    if (this.#capabilities.has('snapshots') && !(await canTakeSnapshot(disk, 'old'))) {
      this.#capabilities.delete('snapshots')
    }
    if (this.#capabilities.has('snapshots')) {
      await disk.write(this.#cluster, filled(this.#cluster * 2, 0x22))
    }
    this.#content = new Uint8Array(disk.size)
    await disk.read(0, this.#content)
    await world.close()
    this.#image = world.files.file('image').clone()
  }

  verbs(): string[] {
    const own = Object.entries(verbs).filter(([, { needs }]) => needs === undefined || this.#capabilities.has(needs))
    const all = ['create', 'open', ...own.map(([name]) => name)]
    return all.filter((name) => this.#settings.verbs?.includes(name) ?? true)
  }

  /** Lets call after call of one verb fail. */
  async verb(name: string, code: ErrorCode): Promise<void> {
    for (let nth = 1; nth < 2000; nth++) {
      const world = new World(this.#settings)
      if (name !== 'create') world.files.put('image', (this.#image as PagedFile).clone())
      const failure = await this.#run(world, name, code, nth)
      const hit = world.faults.hits[0]
      if (hit === undefined) return
      this.#report.runs++
      this.#report.verbs[name] = (this.#report.verbs[name] ?? 0) + 1
      const finding = { verb: name, nth, code, call: `${hit.kind} of ${hit.length} at ${hit.offset}` }
      const ignorable = (this.#settings.mayIgnore ?? ['discard', 'blockStatus']).includes(hit.kind)
      const told = failure !== undefined || world.warnings > 0
      if (!told && !ignorable) this.#find({ ...finding, kind: 'swallowed', text: 'nobody was told' })
      const bug = bugIn(failure)
      if (bug !== undefined) this.#find({ ...finding, kind: 'unclean', text: bug })
      if (failure !== undefined && errorCodeOf(failure) !== code) this.#report.otherCodes++
      if (name !== 'create') await this.#examine(world, finding)
    }
  }

  /** Runs the verb with the fault, and returns the first error that anybody was told. */
  async #run(world: World, name: string, code: ErrorCode, nth: number): Promise<unknown> {
    const fault = { nth, code }
    if (name === 'create' || name === 'open') {
      world.faults.arm(fault)
      const failure = await (name === 'create' ? world.create() : world.open().then(() => world.close())).catch(asValue)
      world.faults.disarm()
      await world.close().catch(() => undefined)
      return failure
    }
    const disk = await world.open()
    world.faults.arm(fault)
    const work = (verbs[name] as { run: Verb }).run(disk, this.#cluster)
    let failure: unknown = await work.then(() => disk.flush()).catch(asValue)
    if (world.faults.hits.length > 0) {
      world.faults.disarm()
      await this.#writeAgain(world, disk)
      await world.close().catch(() => undefined)
    } else failure = await world.close().catch(asValue)
    world.faults.disarm()
    return failure
  }

  /** A disk that met a fault takes a write, or refuses it; one that it takes and flushes must be there. */
  async #writeAgain(world: World, disk: Disk): Promise<void> {
    const offset = this.#content.length - this.#cluster + 512
    try {
      await disk.write(offset, filled(512, 0x99))
      await disk.flush()
      world.acknowledged = offset
    } catch (error) {
      if (!isBlockError(error)) throw error
    }
  }

  /** Opens the image again, without a fault, and compares. */
  async #examine(world: World, finding: Omit<SweepFinding, 'kind' | 'text'>): Promise<void> {
    const { judge, judgeEvery = 10 } = this.#settings
    try {
      const disk = await world.open()
      if (this.#capabilities.has('check')) {
        const found: string[] = []
        const onFinding = (kind: string, text: string): void => {
          if (kind !== 'leak') found.push(text)
        }
        const { corruptions } = await disk.check({ repair: 'none', onFinding })
        const text = `check finds ${corruptions} corruptions: ${found.slice(0, 3).join('; ')}`
        if (corruptions > 0) this.#find({ ...finding, kind: 'corrupt', text })
      }
      const at = this.#content.length - this.#cluster
      const buf = new Uint8Array(this.#cluster)
      await disk.read(at, buf)
      const expected = this.#content.slice(at)
      if (world.acknowledged !== undefined) expected.fill(0x99, 512, 1024)
      else expected.set(buf.subarray(512, 1024), 512)
      const wrong = buf.findIndex((byte, i) => byte !== expected[i])
      if (wrong >= 0)
        this.#find({ ...finding, kind: 'lost', text: `byte ${at + wrong} is ${buf[wrong]}, not ${expected[wrong]}` })
      await world.close()
    } catch (error) {
      this.#find({ ...finding, kind: 'corrupt', text: `cannot be opened again: ${String(error)}` })
    }
    if (judge === undefined || this.#report.runs % judgeEvery !== 0) return
    const text = await judge(world.files.file('image'))
    if (text !== undefined) this.#find({ ...finding, kind: 'corrupt', text })
  }

  #find(finding: SweepFinding): void {
    this.#report[finding.kind]++
    this.#report.findings.push(finding)
  }
}

/** One image in memory with faults above it. */
class World {
  readonly files = new MemoryFiles()
  readonly faults = new Faults()
  /** Where a write after the fault was acknowledged. */
  acknowledged: number | undefined
  /** How often somebody was warned. */
  warnings = 0
  readonly #settings: SweepSettings
  readonly #storage = { driver: 'testkit-fault', file: { driver: 'testkit-file', name: 'image' } }
  #graph: Graph | undefined

  constructor(settings: SweepSettings) {
    this.#settings = settings
    this.files.put('image')
  }

  async create(): Promise<void> {
    const { driver, size = 2 ** 20, createOptions = {} } = this.#settings
    await using graph = this.#newGraph()
    await graph.createUnchecked({ driver: driver.name, size, ...createOptions, file: this.#storage })
  }

  async open(): Promise<Disk> {
    this.#graph = this.#newGraph()
    return this.#graph.addUnchecked(imageDefinition(this.#settings, this.#storage))
  }

  async close(): Promise<void> {
    const graph = this.#graph
    this.#graph = undefined
    await graph?.close()
  }

  #newGraph(): Graph {
    const { driver, drivers = [] } = this.#settings
    const onWarning = (): void => {
      this.warnings++
    }
    return new Graph({ drivers: [driver, ...drivers, this.files.driver, this.faults.driver], onWarning })
  }
}

/** Takes a snapshot; false where the image is one that cannot have any (with refcounts of one bit, say). */
async function canTakeSnapshot(disk: Disk, name: string): Promise<boolean> {
  try {
    await disk.snapshots.create({ name })
    return true
  } catch (error) {
    if (!['EINVAL', 'ENOTSUP'].includes(errorCodeOf(error))) throw error
    return false
  }
}

function asValue(error: unknown): unknown {
  return error ?? new Error('rejected with nothing')
}
