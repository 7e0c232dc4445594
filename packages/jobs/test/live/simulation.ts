/**
 * One seed: a disk with guests that write to it, a job of some kind on it, somebody who pauses, slows, cancels and
 * completes that job, and storage that answers late and fails now and then, all in virtual time. In the end the guests
 * read what they have written, the target of a mirror or a backup holds what it has to, and the graph is as it should be.
 *
 * Each guest has a part of the disk to itself and makes one request at a time, so at any moment its part holds the last
 * version or, while a request is in flight, that one or the next. A target that shows one moment holds, in each part, a
 * version that was the last at some time since the job began.
 */
import { BlockError, type Disk, type DriverDescriptor, Graph, type Node, Permission } from '@diskgraph/core'
import { type ChildHandle, delay, Passthrough } from '@diskgraph/core/driver'
import { MemoryStorage, memoryDriver } from '@diskgraph/driver-memory'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { Random, VirtualClock } from '@diskgraph/driver-testkit'
import {
  type ErrorPolicy,
  type Job,
  JobTable,
  startBackup,
  startCommit,
  startMirror,
  startStream,
} from '@diskgraph/jobs'

const size = 131_072
const lanes = 4
const width = size / lanes
const kinds = ['mirror', 'mirror', 'backup', 'backup', 'fleecing', 'stream', 'commit', 'active commit'] as const
type Kind = (typeof kinds)[number]

/** Virtual milliseconds in which a seed has to end. */
const longest = 60_000

/** What happened in one seed. */
export interface SimulationReport {
  readonly kind: Kind
  readonly requests: number
  readonly outcome: 'success' | 'cancelled' | 'failed'
}

/** Runs one seed. Rejects, with what is wrong, when a promise is broken. */
export async function simulateJob(seed: number): Promise<SimulationReport> {
  const clock = new VirtualClock()
  const run = new Simulation(new Random(seed), clock)
  try {
    return await clock.run(run.run(), () => {
      if (clock.now() > longest) throw new Error(`it has not ended after ${longest} ms: ${run.state}`)
    })
  } catch (error) {
    throw new Error(`seed ${seed} (${run.kind}): ${(error as Error).message}`, { cause: error })
  }
}

class Simulation {
  readonly kind: Kind
  readonly #random: Random
  readonly #clock: VirtualClock
  readonly #storages = new Map<string, MemoryStorage>()
  readonly #graph: Graph
  readonly #jobs: JobTable
  /** Names of storages that fail, and how often. */
  readonly #failing = new Map<string, number>()
  #requests = 0
  #running = true
  readonly #guests: Guest[] = []

  constructor(random: Random, clock: VirtualClock) {
    this.#random = random
    this.#clock = clock
    this.kind = random.pick([...kinds])
    const drivers = [memoryDriver(this.#storages), this.#slow(), qcow2]
    this.#graph = new Graph({ drivers, clock, references: 'allow', onWarning: (message) => this.#warned.push(message) })
    this.#jobs = new JobTable(this.#graph)
  }
  readonly #warned: string[] = []

  get state(): string {
    const jobs = this.#jobs.list().map((job) => JSON.stringify(job))
    return `${jobs.join(' ')}, ${this.#guests.map(({ requests }) => requests).join(' ')}`
  }

  async run(): Promise<SimulationReport> {
    const disk = await this.#makeDisk()
    for (let i = 0; i < lanes; i++) this.#guests.push(new Guest(disk, i, this.#random.fork(), this.#clock))
    for (const guest of this.#guests) await guest.load()
    const lives = Promise.all(this.#guests.map((guest) => guest.live(() => this.#running)))
    lives.catch(() => undefined)
    await delay(this.#clock, this.#random.below(50))
    let start: Uint8Array | undefined
    const forget = this.#graph.onEvent(({ data }) => {
      if (data.status !== 'running' || start !== undefined) return
      // A backup begins while nothing is in flight: what its disk holds now is what the target has to hold.
      start = new Uint8Array(size)
      this.#storages.get('disk')?.read(0, start)
      for (const guest of this.#guests) guest.forget()
    })
    if (this.#random.chance(0.3)) await this.#failTransaction(disk)
    const job = await this.#start(disk)
    const steered = this.kind === 'fleecing' ? this.#readTarget(job, () => start as Uint8Array) : this.#steer(job)
    const outcome = await job.finished.then(
      () => 'success' as const,
      (error: BlockError) => (error.code === 'ECANCELED' ? ('cancelled' as const) : ('failed' as const)),
    )
    await steered
    forget()
    if (outcome === 'success') this.#checkTarget(start)
    await delay(this.#clock, 100)
    this.#running = false
    await lives
    await this.#checkDisk(disk, outcome)
    await this.#graph.close()
    this.#requests = this.#guests.reduce((sum, { requests }) => sum + requests, 0)
    return { kind: this.kind, requests: this.#requests, outcome }
  }

  /** A change in which a backup starts, and which fails then: nothing is left of it. */
  async #failTransaction(disk: Disk): Promise<void> {
    if (this.kind !== 'backup' && this.kind !== 'fleecing') return
    const device = disk.node
    const failing = this.#graph.change(async (change) => {
      await startBackup(this.#jobs, { device, target: 'target', sync: 'full', change })
      await delay(this.#clock, this.#random.below(20))
      throw new BlockError('EIO', 'simulated')
    })
    await failing.catch(() => undefined)
    if (this.#jobs.list().length > 0 || disk.node !== device) throw new Error('something is left of a failed change')
  }

  /** Reads the disk as it was from the target of a fleecing backup, then ends that. */
  async #readTarget(job: Job, start: () => Uint8Array): Promise<void> {
    const random = this.#random.fork()
    const { ConsistentRead, All, BackingChange } = Permission
    const reader = await this.#graph.attach('target', { permissions: ConsistentRead, shared: All | BackingChange })
    for (let i = 0; i < 40; i++) {
      const length = random.between(1, 40_000)
      const offset = random.below(size - length)
      const buf = new Uint8Array(length)
      await reader.read(offset, buf)
      const at = firstDifference(buf, start().subarray(offset, offset + length))
      if (at >= 0) throw new Error(`the target does not show the disk as it was, at ${offset + at}`)
      await delay(this.#clock, random.below(20))
    }
    await reader.close()
    job.cancel()
  }

  /** `slow`: a filter that answers late, and fails as `#failing` says. */
  #slow(): DriverDescriptor {
    const random = this.#random.fork()
    const clock = this.#clock
    const failing = this.#failing
    class Slow extends Passthrough {
      readonly #name: string
      constructor(file: ChildHandle, name: string) {
        super(file)
        this.#name = name
      }
      async #late(work: () => Promise<void>): Promise<void> {
        await delay(clock, random.below(6))
        if (random.chance(failing.get(this.#name) ?? 0)) {
          throw new BlockError(random.chance(0.5) ? 'ENOSPC' : 'EIO', 'simulated')
        }
        await work()
        await delay(clock, random.chance(0.05) ? random.below(100) : random.below(6))
      }
      override read(offset: number, buf: Uint8Array, flags: number): Promise<void> {
        return this.#late(() => super.read(offset, buf, flags))
      }
      override write(offset: number, buf: Uint8Array, flags: number): Promise<void> {
        return this.#late(() => super.write(offset, buf, flags))
      }
      override writeZeroes(offset: number, length: number, flags: number): Promise<void> {
        return this.#late(() => super.writeZeroes(offset, length, flags))
      }
    }
    return {
      name: 'slow',
      kind: 'filter',
      description: 'Answers late.',
      options: {
        file: { type: 'child', role: 'filtered', required: true, description: 'The storage' },
        name: { type: 'string', required: true, description: 'Its name' },
      },
      open: async ({ children, options }) => new Slow(children.require('file'), options.name as string),
    }
  }

  #over(name: string): Record<string, unknown> {
    return { driver: 'slow', name, file: { driver: 'memory', name } }
  }

  async #makeDisk(): Promise<Disk> {
    if (this.kind === 'mirror' || this.kind === 'backup' || this.kind === 'fleecing') {
      for (const name of ['disk', 'target']) this.#storages.set(name, new MemoryStorage(size))
      const content = this.#random.bytes(size)
      content.fill(0, 30_000, 70_000)
      this.#storages.get('disk')?.write(0, content)
      const disk = await this.#graph.addUnchecked({ ...this.#over('disk'), nodeName: 'disk' })
      if (this.kind !== 'fleecing') await this.#graph.addNode({ ...this.#over('target'), nodeName: 'target' })
      else await this.#addScratch()
      return disk
    }
    const names = ['base', 'mid', 'top']
    for (const [i, name] of names.entries()) {
      const file = { driver: 'memory', name }
      const below = i === 0 ? {} : { backingFile: `memory:${names[i - 1]}`, backingFmt: 'qcow2' }
      await this.#graph.createUnchecked({ driver: 'qcow2', size, clusterSize: 4096, file, ...below })
      const layer = await this.#graph.addUnchecked({ driver: 'qcow2', file, ...(i > 0 && { backing: null }) })
      for (let n = 0; n < 8; n++) {
        const length = this.#random.between(1, 20_000)
        await layer.write(this.#random.below(size - length), this.#random.bytes(length))
      }
      await layer.close()
    }
    const layer = (name: string, backing?: object) => ({
      driver: 'qcow2',
      nodeName: name,
      file: this.#over(name),
      ...(backing && { backing }),
    })
    return this.#graph.addUnchecked(layer('top', layer('mid', layer('base'))))
  }

  /** An image that stands on the disk. */
  async #addScratch(): Promise<void> {
    const file = { driver: 'memory', name: 'target' }
    await this.#graph.createUnchecked({ driver: 'qcow2', size, clusterSize: 4096, file })
    const node = { driver: 'qcow2', nodeName: 'target', file: this.#over('target'), backing: 'disk' }
    await this.#graph.addNode(node)
  }

  #policy(): ErrorPolicy {
    return this.#random.pick<ErrorPolicy>(['report', 'ignore', 'stop', 'enospc'])
  }

  async #start(disk: Disk): Promise<Job> {
    const random = this.#random
    const speed = random.chance(0.3) ? random.between(20_000, 2_000_000) : 0
    const failures = random.chance(0.4) ? 0.1 : 0
    const settings = { speed, autoFinalize: true }
    switch (this.kind) {
      case 'mirror':
        this.#failing.set('target', failures)
        return startMirror(this.#jobs, {
          ...settings,
          device: disk.node,
          target: 'target',
          sync: 'full',
          granularity: random.pick([512, 4096, 65536]),
          copyMode: random.pick(['background', 'write-blocking'] as const),
          onTargetError: this.#policy(),
        })
      case 'backup':
        this.#failing.set('target', failures)
        return startBackup(this.#jobs, {
          ...settings,
          device: disk.node,
          target: 'target',
          sync: 'full',
          onTargetError: this.#policy(),
        })
      case 'fleecing':
        return startBackup(this.#jobs, { device: disk.node, target: 'target', sync: 'none' })
      case 'stream':
        this.#failing.set('mid', failures)
        return startStream(this.#jobs, {
          ...settings,
          device: disk.node,
          ...(random.chance(0.5) && { baseNode: 'base' }),
          onError: this.#policy(),
        })
      default:
        this.#failing.set('base', failures)
        return startCommit(this.#jobs, {
          ...settings,
          device: disk.node,
          ...(this.kind === 'commit' ? { topNode: 'mid' } : { baseNode: random.pick(['mid', 'base']) }),
          onError: this.#policy(),
        })
    }
  }

  /** Asks things of the job until it has ended; a mirror is completed, or cancelled without force, in the end. */
  async #steer(job: Job): Promise<void> {
    const random = this.#random.fork()
    const ended = (): boolean => job.status === 'null' || job.status === 'concluded'
    for (let step = 0; !ended(); step++) {
      await delay(this.#clock, random.below(60))
      if (ended()) return
      try {
        // Storage gets well in the end, or a job that is to be resumed would never end.
        if (step > 30) this.#failing.clear()
        if (step > 60 && job.speed > 0) job.setSpeed(0)
        const kind = random.weighted({
          nothing: 4,
          pause: 1,
          resume: 2,
          speed: 0.5,
          cancel: 0.1,
          complete: 2,
          soft: 0.2,
          blocking: 0.5,
        })
        if (kind === 'pause' && step < 40) job.pause()
        if (kind === 'resume' || (step > 30 && job.paused)) job.resume()
        if (kind === 'speed') job.setSpeed(random.chance(0.5) ? 0 : 500_000)
        if (kind === 'cancel') job.cancel()
        if (kind === 'blocking' && this.kind === 'mirror') job.change({ copyMode: 'write-blocking' })
        if (kind === 'soft' && job.ready) {
          job.cancel(false)
          this.#soft = true
        }
        if (kind === 'complete') {
          job.complete()
          this.#soft = false
        }
      } catch (error) {
        if ((error as BlockError).code !== 'EBUSY') throw error
      }
    }
  }
  #soft = false

  #checkTarget(start: Uint8Array | undefined): void {
    if (this.kind !== 'mirror' && this.kind !== 'backup') return
    const target = new Uint8Array(size)
    this.#storages.get('target')?.read(0, target)
    if (this.kind === 'backup') {
      const at = firstDifference(target, start as Uint8Array)
      if (at >= 0) throw new Error(`the target of the backup is not the disk as it was, at ${at}`)
      return
    }
    // A mirror that guests have gone over to goes on with them: #checkDisk looks at it.
    if (!this.#soft) return
    for (const guest of this.#guests) guest.mustHaveBeen(target)
  }

  async #checkDisk(disk: Disk, outcome: SimulationReport['outcome']): Promise<void> {
    this.#failing.clear()
    const content = new Uint8Array(size)
    await disk.read(0, content)
    for (const guest of this.#guests) guest.mustBe(content)
    // Storage that fails until the end may leave a layer writable, which is told.
    const message = this.#warned.find((text) => !text.includes('simulated'))
    if (message !== undefined) throw new Error(`a warning: ${message}`)
    for (const node of this.#graph.nodes) {
      if (node.blockers.size > 0) throw new Error(`node '${node.name}' is still blocked`)
      if (node.name.startsWith('#') && node.driver.kind === 'filter' && node.driver.name !== 'slow') {
        throw new Error(`filter '${node.driver.name}' is still there`)
      }
    }
    const shape = names(disk.node).join(' ')
    if (!this.#expected(outcome).includes(shape)) throw new Error(`after ${outcome} the chain is ${shape}`)
  }

  #expected(outcome: SimulationReport['outcome']): readonly string[] {
    const whole = ['mirror', 'backup', 'fleecing'].includes(this.kind) ? 'disk' : 'top mid base'
    if (outcome !== 'success') return [whole]
    if (this.kind === 'mirror') return [this.#soft ? 'disk' : 'target']
    if (this.kind === 'backup') return ['disk']
    if (this.kind === 'stream') return ['top', 'top base']
    if (this.kind === 'commit') return ['top base']
    return this.#soft ? [whole] : ['mid base', 'base']
  }
}

const names = (node: Node): string[] => [node.name, ...(node.backing === undefined ? [] : names(node.backing.node))]

/** Writes to its part of the disk, one request at a time. */
class Guest {
  requests = 0
  readonly #disk: Disk
  readonly #start: number
  readonly #random: Random
  readonly #clock: VirtualClock
  /** What its part held since {@link forget}, the last one at the end. */
  #versions: Uint8Array[] = []

  constructor(disk: Disk, index: number, random: Random, clock: VirtualClock) {
    this.#disk = disk
    this.#start = index * width
    this.#random = random
    this.#clock = clock
  }

  async load(): Promise<void> {
    const buf = new Uint8Array(width)
    await this.#disk.read(this.#start, buf)
    this.#versions = [buf]
  }

  async live(running: () => boolean): Promise<void> {
    while (running()) {
      await delay(this.#clock, this.#random.below(10))
      const length = this.#random.between(1, 6000)
      const offset = this.#random.below(width - length)
      this.requests++
      if (this.#random.chance(0.2)) await this.#read(offset, length)
      else await this.#write(offset, length)
    }
  }

  async #read(offset: number, length: number): Promise<void> {
    const buf = new Uint8Array(length)
    try {
      await this.#disk.read(this.#start + offset, buf)
    } catch {
      return
    }
    const at = firstDifference(buf, this.#last.subarray(offset, offset + length))
    if (at >= 0) throw new Error(`a guest reads something else than it wrote, at ${this.#start + offset + at}`)
  }

  async #write(offset: number, length: number): Promise<void> {
    const next = this.#last.slice()
    const zero = this.#random.chance(0.2)
    const data = zero ? new Uint8Array(length) : this.#random.bytes(length)
    next.set(data, offset)
    try {
      if (zero) await this.#disk.writeZeroes(this.#start + offset, length)
      else await this.#disk.write(this.#start + offset, data)
    } catch {
      // It did not happen, or some of it did: now it does.
      return this.#again(offset, data, next)
    }
    this.#versions.push(next)
  }

  async #again(offset: number, data: Uint8Array, next: Uint8Array): Promise<void> {
    for (;;) {
      await delay(this.#clock, 5)
      try {
        await this.#disk.write(this.#start + offset, data)
        this.#versions.push(next)
        return
      } catch {
        // Storage gets well in the end.
      }
    }
  }

  get #last(): Uint8Array {
    return this.#versions[this.#versions.length - 1] as Uint8Array
  }

  /** Versions before the last one no longer count. */
  forget(): void {
    this.#versions = [this.#last]
  }

  mustBe(content: Uint8Array): void {
    const at = firstDifference(content.subarray(this.#start, this.#start + width), this.#last)
    if (at >= 0) throw new Error(`the disk lost what a guest wrote at ${this.#start + at}`)
  }

  mustHaveBeen(content: Uint8Array): void {
    const part = content.subarray(this.#start, this.#start + width)
    // The last request may have ended on the disk, and the guest not have heard of it.
    if (this.#versions.some((version) => firstDifference(part, version) < 0)) return
    throw new Error(`the target shows no moment of the part from ${this.#start} on`)
  }
}

function firstDifference(one: Uint8Array, other: Uint8Array): number {
  return Buffer.compare(one, other) === 0 ? -1 : one.findIndex((byte, i) => byte !== other[i])
}
