/**
 * Operations on a whole image that end early, at every step.
 *
 * Every call that an operation makes to the storage fails in turn, and in other runs the operation's signal is aborted
 * before that call. The same open disk is then used on: it is read, written and flushed. What it holds must be, byte by
 * byte, what it held before or what the operation makes of it; what was acknowledged since must be there, through the
 * open disk, in the file as it is after the flush, and after closing. Nothing here knows a format: an image comes from
 * a factory, and what an operation makes of it is found out by running it without a fault.
 */
import { type Disk, type DriverDescriptor, type ErrorCode, errorCodeOf, Flag, Graph } from '@diskgraph/core'
import { type Call, Faults, MemoryFiles, type PagedFile, Random } from '@diskgraph/driver-testkit'

/** One operation on a whole image. */
export interface WholeOperation {
  readonly name: string
  /** An operation that ended early may have lost what stands from this offset on: it reads as zeroes. */
  readonly losesFrom?: number
  run(disk: Disk, signal: AbortSignal): Promise<unknown>
}

/** What {@link endAtEveryStep} does. */
export interface StepSettings {
  readonly driver: DriverDescriptor
  /** Drivers of other files, of backing files say. */
  readonly drivers?: readonly DriverDescriptor[]
  /** The files of the image, anew for every run; the image itself is called 'image'. */
  readonly files: () => ReadonlyMap<string, PagedFile>
  /** Options of the image's node. */
  readonly options?: Readonly<Record<string, unknown>>
  /** Opens an image that needs repair. */
  readonly check?: boolean
  /** Runs on the open disk before the operation, without a fault: changes that wait in caches, say. */
  prepare?(disk: Disk): Promise<unknown>
  readonly operations: readonly WholeOperation[]
  readonly seed: number
  /** Default EIO and ENOSPC; each of them in runs of its own. */
  readonly codes?: readonly ErrorCode[]
  /** Only every n-th call, beginning at a place that depends on the seed. Default 1. */
  readonly stride?: number
  /** Failing calls fail from the n-th on, until the operation has ended. Default false: one call fails. */
  readonly lasting?: boolean
  /** A judge from outside of the image: what is wrong, in words. */
  judge?(file: PagedFile, leaksAllowed: boolean): Promise<string | undefined>
  /** Every how many runs the judge is asked. Default 10. */
  readonly judgeEvery?: number
}

/** The figures of all runs. */
export interface StepReport {
  /** Runs that ended early. */
  runs: number
  /** Runs after which the open disk refused to go on. */
  refused: number
  readonly findings: string[]
}

/** How an operation is ended: an error code, or its signal. */
type Ending = ErrorCode | 'abort'

/** What a disk and its snapshots hold. */
interface Content {
  readonly disk: Uint8Array
  readonly snapshots: ReadonlyMap<string, Uint8Array>
}

/** Runs everything; see the top of the file. */
export async function endAtEveryStep(settings: StepSettings): Promise<StepReport> {
  const report: StepReport = { runs: 0, refused: 0, findings: [] }
  for (const operation of settings.operations) {
    const untouched = new World(settings)
    await settings.prepare?.(await untouched.open())
    await untouched.close()
    const before = await contentOf(settings, untouched)
    const whole = new World(settings)
    const disk = await whole.open()
    await settings.prepare?.(disk)
    await operation.run(disk, new AbortController().signal)
    await whole.close()
    const after = await contentOf(settings, whole)
    const endings: readonly Ending[] = [...(settings.codes ?? ['EIO', 'ENOSPC']), 'abort']
    for (const ending of endings) {
      const { stride = 1, seed } = settings
      for (let nth = 1 + (seed % stride); nth < 5000; nth += stride) {
        const run = new Run(settings, operation, { before, after }, report)
        if (!(await run.endAt(nth, ending))) break
      }
    }
  }
  return report
}

/** Reads the disk and all its snapshots. */
async function contentOf(settings: StepSettings, world: World): Promise<Content> {
  const disk = await world.open()
  const content = await readAll(disk)
  const names = disk.node.image.snapshots === undefined ? [] : disk.snapshots.list().map(({ name }) => name)
  await world.close()
  const snapshots = new Map<string, Uint8Array>()
  for (const name of names) {
    const shown = await world.open({ ...settings.options, readOnly: true })
    await shown.snapshots.load(name)
    snapshots.set(name, await readAll(shown))
    await world.close()
  }
  return { disk: content, snapshots }
}

async function readAll(disk: Disk): Promise<Uint8Array> {
  const buf = new Uint8Array(disk.size)
  await disk.read(0, buf)
  return buf
}

/** One run of one operation. */
class Run {
  private readonly settings: StepSettings
  private readonly operation: WholeOperation
  private readonly known: { readonly before: Content; readonly after: Content }
  private readonly report: StepReport
  private readonly world: World
  private readonly random: Random
  private label = ''
  private failed = false
  private model: Uint8Array = new Uint8Array(0)

  constructor(settings: StepSettings, operation: WholeOperation, known: Run['known'], report: StepReport) {
    this.settings = settings
    this.operation = operation
    this.known = known
    this.report = report
    this.world = new World(settings)
    this.random = new Random(settings.seed + report.runs)
  }

  /** Ends the operation at its n-th call; false when it has fewer calls. */
  async endAt(nth: number, ending: Ending): Promise<boolean> {
    const { world, operation, settings } = this
    const disk = await world.open()
    await settings.prepare?.(disk)
    await readAll(disk)
    const controller = new AbortController()
    world.steps.start(nth, ending, controller, settings.lasting === true)
    const failure = await Promise.resolve()
      .then(() => operation.run(disk, controller.signal))
      .then(
        () => undefined,
        (error: unknown) => error ?? new Error('rejected with nothing'),
      )
    const call = world.steps.finish()
    if (call === undefined) {
      await world.close()
      return false
    }
    this.report.runs++
    this.failed = failure !== undefined
    this.label = `${operation.name}, ${ending} at call ${nth} (${call.kind} of ${call.length} at ${call.offset})`
    if (failure !== undefined && errorCodeOf(failure) === 'EINVAL') this.find(`fails with ${String(failure)}`)
    try {
      await this.useOn(disk)
    } catch (error) {
      this.find(`using the disk on: ${String(error)}`)
    }
    await world.close().catch((error: unknown) => this.find(`closing: ${String(error)}`))
    await this.examine('after closing', world, this.model)
    return true
  }

  /** Reads, writes and flushes the disk after the operation. */
  private async useOn(disk: Disk): Promise<void> {
    this.model = await readAll(disk)
    this.compareEither(this.model)
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 5; i++) await this.write(disk)
      await this.compare('through the open disk', disk, this.model)
      try {
        await disk.flush()
      } catch (error) {
        this.find(`flushing: ${String(error)}`)
        this.report.refused++
        return
      }
      const durable = new World(this.settings, this.world.clones())
      await this.examine('after a flush', durable, this.model.slice())
    }
  }

  private async write(disk: Disk): Promise<void> {
    const { random, model } = this
    const offset = random.below(model.length / 512) * 512
    const length = Math.min(model.length - offset, (random.below(12) + 1) * 512)
    const byte = random.below(5) === 0 ? 0 : random.between(1, 255)
    if (byte === 0) await disk.writeZeroes(offset, length, random.below(2) === 0 ? 0 : Flag.MayUnmap)
    else await disk.write(offset, new Uint8Array(length).fill(byte))
    model.fill(byte, offset, offset + length)
  }

  /** Opens an image and looks at everything in it. */
  private async examine(when: string, world: World, expected: Uint8Array): Promise<void> {
    try {
      const disk = await world.open()
      await this.compare(when, disk, expected)
      const found: string[] = []
      const onFinding = (kind: string, text: string): void => void (kind === 'leak' || found.push(text))
      const { corruptions, checkErrors } = await disk.check({ repair: 'none', onFinding })
      if (corruptions + checkErrors > 0) this.find(`${when} check finds ${found.slice(0, 3).join('; ')}`)
      await world.close()
      await this.compareSnapshots(when, world)
    } catch (error) {
      this.find(`${when} the image cannot be used: ${String(error)}`)
    }
    const { judge, judgeEvery = 10 } = this.settings
    if (judge === undefined || this.report.runs % judgeEvery !== 0) return
    const text = await judge(world.memoryFiles.file('image'), this.failed)
    if (text !== undefined) this.find(`${when}: ${text}`)
  }

  private async compareSnapshots(when: string, world: World): Promise<void> {
    const { before, after } = this.known
    const { snapshots } = await contentOf(this.settings, world)
    const names = [...snapshots.keys()].join()
    const allowed = [[...before.snapshots.keys()].join(), [...after.snapshots.keys()].join()]
    if (!allowed.includes(names)) this.find(`${when} the snapshots are ${names}`)
    for (const [name, content] of snapshots) {
      const wanted = before.snapshots.get(name) ?? after.snapshots.get(name)
      if (wanted !== undefined && Buffer.compare(content, wanted) !== 0) {
        this.find(`${when} snapshot ${name} has changed`)
      }
    }
  }

  private async compare(when: string, disk: Disk, expected: Uint8Array): Promise<void> {
    const got = await readAll(disk)
    if (got.length !== expected.length) return this.find(`${when} the size is ${got.length}, not ${expected.length}`)
    let wrong = 0
    let first = -1
    for (let i = 0; i < got.length; i++) {
      if (got[i] === expected[i]) continue
      wrong++
      if (first < 0) first = i
    }
    if (wrong > 0) this.find(`${when} ${wrong} bytes are wrong: byte ${first} is ${got[first]}, not ${expected[first]}`)
  }

  /** Every byte is as before the operation or as after it. */
  private compareEither(got: Uint8Array): void {
    const { before, after } = this.known
    const { losesFrom = Number.POSITIVE_INFINITY } = this.operation
    const early = (byte: number, i: number): boolean => byte === before.disk[i] || (i >= losesFrom && byte === 0)
    const bytes = got.findIndex((byte, i) => byte !== after.disk[i] && !(this.failed && early(byte, i)))
    if (bytes >= 0) this.find(`byte ${bytes} is ${got[bytes]}, not ${before.disk[bytes]} or ${after.disk[bytes]}`)
    if (got.length !== after.disk.length && !(this.failed && got.length === before.disk.length)) {
      this.find(`the size is ${got.length}`)
    }
  }

  private find(text: string): void {
    this.report.findings.push(`${this.label}: ${text}`)
  }
}

/** Ends an operation at one of its calls. */
class Steps extends Faults {
  private left = 0
  private ending: Ending | undefined
  private controller: AbortController | undefined
  private ended: Call | undefined

  start(nth: number, ending: Ending, controller: AbortController, lasting: boolean): void {
    this.left = nth
    this.ending = ending
    this.controller = controller
    this.ended = undefined
    this.arm(ending === 'abort' ? undefined : { nth, code: ending, lasting })
  }

  /** Lets everything through again; the call at which the operation was ended. */
  finish(): Call | undefined {
    this.disarm()
    this.ending = undefined
    return this.ended
  }

  override check(call: Call): ReturnType<Faults['check']> {
    const failure = super.check(call)
    if (this.ending === undefined) return failure
    this.left--
    if (this.left !== 0) return failure
    this.ended = call
    if (this.ending === 'abort') this.controller?.abort()
    return failure
  }
}

/** The files of one run, and the graph over them. */
class World {
  readonly memoryFiles = new MemoryFiles()
  readonly steps = new Steps()
  private readonly settings: StepSettings
  private graph: Graph | undefined

  constructor(settings: StepSettings, files: ReadonlyMap<string, PagedFile> = settings.files()) {
    this.settings = settings
    for (const [name, file] of files) this.memoryFiles.put(name, file)
  }

  clones(): ReadonlyMap<string, PagedFile> {
    return new Map([...this.memoryFiles.byName].map(([name, file]) => [name, file.clone()]))
  }

  open(options: Readonly<Record<string, unknown>> = this.settings.options ?? {}): Promise<Disk> {
    const { driver, drivers = [], check = false } = this.settings
    this.graph = new Graph({
      drivers: [driver, ...drivers, this.memoryFiles.driver, this.steps.driver],
      references: 'allow',
      onWarning: () => {},
    })
    const file = { driver: 'testkit-fault', file: { driver: 'testkit-file', name: 'image' } }
    return this.graph.addUnchecked({ driver: driver.name, ...options, file }, { check })
  }

  async close(): Promise<void> {
    const { graph } = this
    this.graph = undefined
    await graph?.close()
  }
}
