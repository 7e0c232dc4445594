/**
 * Deterministic simulation: one graph in virtual time over storage that answers late, fails and tears, with guests and
 * controls at work at the same time. The seed decides everything. It throws when the guests' history cannot be
 * explained, something is stuck, a link or permission is broken, or something is left open in the end.
 */
import { type Disk, Graph } from '@diskgraph/core'
import { type DriverDescriptor, delay, isBlockError, Passthrough } from '@diskgraph/core/driver'
import { Random } from '../random.ts'
import { Controls, controlNames, largest } from './controls.ts'
import { Guests } from './guests.ts'
import { History } from './history.ts'
import { checkInvariants } from './invariants.ts'
import { SimulatedStorage } from './leaf.ts'
import { Trace } from './trace.ts'
import { VirtualClock } from './virtual-clock.ts'

/** What to simulate. */
export interface SimulationSettings {
  readonly seed: number
  /** Formats and filters to build stacks of: `raw`, `qcow2` and `quorum` are made use of. */
  readonly drivers: readonly DriverDescriptor[]
  /** How many of the last lines of the trace the result holds. Default 0. */
  readonly keep?: number
}

/** What a simulation did. */
export interface SimulationReport {
  /** Equal for equal seeds. */
  readonly hash: string
  readonly requests: number
  /** Operations on the graph that were tried, and how many of them succeeded. */
  readonly operations: number
  readonly succeeded: number
  readonly virtualMs: number
  readonly stack: string
  readonly last: readonly string[]
}

/** Errors that an operation on the graph has to expect. */
const expected = new Set([
  'EBUSY',
  'ECANCELED',
  'EINVAL',
  'EIO',
  'ENODEV',
  'ENOENT',
  'ENOMEDIUM',
  'ENOTSUP',
  'EPERM',
  'ENOSPC',
])

const pass: DriverDescriptor = {
  name: 'pass',
  kind: 'filter',
  description: 'Forwards everything, for simulations.',
  options: { file: { type: 'child', role: 'filtered', required: true, description: 'filtered node' } },
  open: async ({ children }) => new Passthrough(children.require('file')),
}

/** See the top of the file. */
export async function simulate(settings: SimulationSettings): Promise<SimulationReport> {
  const simulation = new Simulation(settings)
  try {
    return await simulation.run()
  } catch (error) {
    const attempt = `simulation of seed ${settings.seed} (${simulation.stack}): ${(error as Error).message}`
    throw new Error([attempt, ...simulation.trace.last].join('\n'), { cause: error })
  }
}

class Simulation {
  readonly trace: Trace
  stack = ''
  readonly #settings: SimulationSettings
  readonly #random: Random
  readonly #clock = new VirtualClock()
  readonly #storage: SimulatedStorage
  readonly #graph: Graph
  readonly #failures: number
  #operations = 0
  #succeeded = 0

  constructor(settings: SimulationSettings) {
    this.#settings = settings
    this.#random = new Random(settings.seed)
    this.#failures = this.#random.chance(0.5) ? 0 : this.#random.fraction() * 0.02
    const alignment = this.#random.pick([1, 512, 4096])
    this.#storage = new SimulatedStorage({ random: this.#random.fork(), failures: this.#failures, alignment })
    this.trace = new Trace(settings.keep ?? 0)
    const chance = this.#random.fork()
    this.#graph = new Graph({
      drivers: [this.#storage.driver, pass, ...settings.drivers],
      clock: this.#clock,
      random: () => chance.fraction(),
      references: 'allow',
      onWarning: (message) => this.trace.add(message, this.#clock.now()),
    })
  }

  async run(): Promise<SimulationReport> {
    let guests: Guests | undefined
    await this.#clock.run(
      this.#play((begun) => {
        guests = begun
      }),
      () => guests?.look(),
    )
    return {
      hash: this.trace.hash,
      requests: guests?.requests ?? 0,
      operations: this.#operations,
      succeeded: this.#succeeded,
      virtualMs: this.#clock.now(),
      stack: this.stack,
      last: this.trace.last,
    }
  }

  async #play(begin: (guests: Guests) => void): Promise<void> {
    this.#storage.failing = false
    const disk = await this.#build()
    this.#storage.failing = this.stack !== 'quorum'
    const history = new History()
    const now = (): number => this.#clock.now()
    const guests = new Guests(disk, { history, trace: this.trace, random: this.#random.fork(), now })
    begin(guests)
    const pause = (ms: number): Promise<void> => delay(this.#clock, ms)
    const running = guests.run(this.#guestCount(), pause)
    const available = new Set(this.#settings.drivers.map(({ name }) => name))
    const controls = new Controls(this.#graph, disk, guests, this.#random.fork(), available)
    const actors = Array.from({ length: this.#random.between(1, 3) }, () => this.#act(controls, pause))
    await settle(running, actors)
    if (this.#random.chance(0.7)) {
      guests.running = false
      await running
      await this.#readAll(disk, history)
      await this.#close()
    } else {
      // The end comes while the guests are at work.
      await this.#close()
      guests.running = false
      await running
    }
    history.check()
    this.#mustBeEmpty()
  }

  /** A quorum's replicas may part when overlapping writes meet or one of them fails: it promises nothing then. */
  #guestCount(): number {
    return this.stack === 'quorum' ? 1 : this.#random.between(2, 5)
  }

  async #build(): Promise<Disk> {
    const names = new Set(this.#settings.drivers.map(({ name }) => name))
    const kinds = ['leaf', 'raw', 'qcow2', 'quorum', 'filters'].filter(
      (kind) => kind === 'leaf' || kind === 'filters' || names.has(kind),
    )
    this.stack = this.#random.pick(kinds)
    const size = 4096 * this.#random.between(16, largest / 4096)
    const leaf = async (name: string, bytes: number): Promise<Record<string, unknown>> => {
      await this.#graph.createUnchecked({ driver: 'simulated', name, size: bytes })
      return { driver: 'simulated', name }
    }
    switch (this.stack) {
      case 'raw':
        return this.#graph.addUnchecked({ driver: 'raw', file: await leaf('a', size) })
      case 'qcow2': {
        const clusterSize = this.#random.pick([512, 4096, 65_536])
        const file = { driver: 'simulated', name: 'a' }
        await this.#graph.createUnchecked({ driver: 'qcow2', size, clusterSize, file: { ...file } })
        return this.#graph.addUnchecked({ driver: 'qcow2', file })
      }
      case 'quorum': {
        const children = [await leaf('a', size), await leaf('b', size), await leaf('c', size)]
        return this.#graph.addUnchecked({ driver: 'quorum', voteThreshold: 2, children })
      }
      case 'filters':
        return this.#graph.addUnchecked({ driver: 'pass', file: { driver: 'pass', file: await leaf('a', size) } })
      default:
        return this.#graph.addUnchecked(await leaf('a', size))
    }
  }

  async #act(controls: Controls, pause: (ms: number) => Promise<void>): Promise<void> {
    const random = this.#random.fork()
    for (let i = random.between(3, 8); i > 0; i--) {
      await pause(random.fraction() * 40)
      const name = random.pick(controlNames)
      const controller = new AbortController()
      const signal = random.chance(0.1) ? controller.signal : undefined
      if (signal !== undefined) pause(random.fraction() * 30).then(() => controller.abort())
      this.#operations++
      try {
        await controls.run(name, signal)
        this.#succeeded++
      } catch (error) {
        if (!isBlockError(error) || !expected.has(error.code)) throw error
      }
      await this.#graph.change(async () => checkInvariants(this.#graph))
    }
  }

  async #readAll(disk: Disk, history: History): Promise<void> {
    this.#storage.failing = false
    const call = history.tick()
    const buf = new Uint8Array(disk.size)
    await disk.read(0, buf)
    const answer = history.tick()
    const words = new Uint32Array(buf.buffer)
    for (let i = 0; i * 512 < buf.length; i++) history.read(i, words[i * 128] as number, call, answer)
  }

  async #close(): Promise<void> {
    try {
      await this.#graph.close()
    } catch (error) {
      if (this.#failures === 0 || !isBlockError(error)) throw error
    }
    this.#mustBeEmpty()
  }

  #mustBeEmpty(): void {
    const { calls, late, open } = this.#storage
    if (late > 0) throw new Error(`${late} calls were at work on a storage when it was closed`)
    if (calls > 0) throw new Error(`${calls} calls are under way after the graph has closed`)
    if (open > 0) throw new Error(`${open} images are open after the graph has closed`)
    const left = [...this.#graph.nodes].map(({ name }) => name)
    if (left.length > 0) throw new Error(`the nodes ${left.join(', ')} are left after the graph has closed`)
    if ([...this.#graph.roots].length > 0) throw new Error('roots are left after the graph has closed')
  }
}

/** Waits for `actors`; an error of the guests meanwhile ends that at once. */
async function settle(guests: Promise<void>, actors: readonly Promise<void>[]): Promise<void> {
  const failed = guests.then(() => new Promise<never>(() => undefined))
  await Promise.race([Promise.all(actors), failed])
}
