import { type Disk, Graph } from '@diskgraph/core'
import { alignUp, type DriverDescriptor, Flag, type OpenImage } from '@diskgraph/core/driver'
import { must, mustSettle, patience } from '../assertions.ts'
import { checked } from '../checker.ts'
import { Faults } from '../faults.ts'
import { MemoryFiles } from '../memory-files.ts'
import { Model } from '../model.ts'
import { Random } from '../random.ts'

/** A definition of a node, of whatever driver. */
export type Definition = Readonly<Record<string, unknown>>

/** What one test of the suite opens. */
export interface Subject {
  /** Opens the image under test; may be opened several times, one after the other. */
  readonly definition: Definition
  /** What it reads as. Default: zeroes. */
  readonly content?: Uint8Array
  /** What a discarded byte may fall back to, beside zero and what it was. */
  readonly below?: Uint8Array
  /** Takes away what was made for the test. */
  tearDown?(): Promise<void> | void
}

/** What {@link ConformanceSettings.setUp} has to build a subject from. */
export interface SetUpContext {
  /** Size that the disk should have. */
  readonly size: number
  /** The test is one of a storage that runs full: what can be a hole is to be one. */
  readonly blank: boolean
  /** Files in memory. */
  readonly files: MemoryFiles
  /** A graph with the drivers of the test, to create images with; the suite closes it. */
  readonly graph: Graph
  /** A definition of the file `name` in memory, with the suite's faults between it and the driver above. */
  storage(name: string): Definition
}

/**
 * A capability that a method declares and an image may refuse. `zeroes`: efficient ones, without fallback; `readOnly`:
 * to be opened with that option.
 */
type Refusal = 'grow' | 'shrink' | 'snapshots' | 'copyRange' | 'zeroes' | 'readOnly'

/** How the suite is to treat a driver. */
export interface ConformanceSettings {
  /** The functions of any test runner: those of vitest, node:test, mocha… */
  readonly test: TestFunctions
  /** The driver under test. */
  readonly driver: DriverDescriptor
  /** Other drivers that the definitions use. */
  readonly drivers?: Iterable<DriverDescriptor>
  /** Options of the node besides its children. */
  readonly options?: Definition
  /** Create options besides `file` and `size`. */
  readonly createOptions?: Definition
  /** Secret objects by id, which options name. */
  readonly secrets?: Readonly<Record<string, string>>
  /** Size of the disk in most tests. Default 1 MiB and 3 sectors. */
  readonly size?: number
  /** Printed in the title; default: a new one for each run. */
  readonly seed?: number
  /** Random operations per run of the comparison with the model. Default 300. */
  readonly operations?: number
  /** False: what is written does not stay (a disk that keeps nothing). Default true. */
  readonly keepsData?: boolean
  /** What `truncate` adds is noise until it is written (decrypted, say). Default false: zeroes. */
  readonly growsNoise?: boolean
  /**
   * What the images have a method for, and yet refuse because of their options: with ENOTSUP, `readOnly` with EPERM. All
   * else that is declared has to work.
   */
  readonly refuses?: readonly Refusal[]
  /** Milliseconds after which something that does not end is a failure. Default 20000. */
  readonly patience?: number
  /** Makes the subject of one test. Default: a new image, or a filter, over a file in memory. */
  setUp?(context: SetUpContext): Promise<Subject> | Subject
}

/** What the suite needs of a test runner. */
export interface TestFunctions {
  describe(name: string, body: () => void): unknown
  it(name: string, body: () => Promise<void>): unknown
}

const defaultSize = 2 ** 20 + 3 * 512

/** What a test asks of its fixture. */
interface FixtureOptions {
  /** Size of the blocks that the storage takes requests in. Default 1. */
  readonly blocks?: number
  /** Size of the disk. Default: that of the settings. */
  readonly size?: number
  readonly capabilities?: ReadonlySet<string>
  /** A filter gets a file with nothing in it. */
  readonly blank?: boolean
}

/** One test of the suite, and the fixture that it asks for. */
export interface Case extends Omit<FixtureOptions, 'capabilities'> {
  readonly name: string
  /**
   * What the driver must have for it: optional methods of its images, or `create`, `probe`, `measure`; `persistence`
   * (what is written stays); `file` (its storage is a file in memory).
   */
  readonly needs?: readonly string[]
  /** What the driver must be without: tests of what happens then. */
  readonly lacks?: readonly string[]
  run(fixture: Fixture): Promise<void>
}

/** What one test works on: storage, faults, graph, and the checker's findings. */
export class Fixture {
  readonly settings: ConformanceSettings
  readonly files: MemoryFiles
  readonly faults = new Faults()
  readonly findings: string[] = []
  readonly random: Random
  readonly graph: Graph
  subject: Subject = { definition: {} }
  /** Of the driver, as the suite has found or been told them. */
  readonly capabilities: ReadonlySet<string>
  readonly #size: number
  readonly #blank: boolean

  private constructor(settings: ConformanceSettings, seed: number, options: FixtureOptions) {
    const { blocks = 1, capabilities = new Set(), size, blank = false } = options
    this.settings = settings
    this.capabilities = capabilities
    this.#size = size ?? alignUp(settings.size ?? defaultSize, blocks)
    this.#blank = blank
    this.files = new MemoryFiles({ alignment: blocks })
    this.random = new Random(seed)
    const driver = checked(settings.driver, (finding) => this.findings.push(finding))
    this.graph = new Graph({
      drivers: [driver, ...(settings.drivers ?? []), this.files.driver, this.faults.driver],
      onWarning: () => undefined,
      secrets: settings.secrets ?? {},
    })
  }

  /** Runs `body` with a new fixture and holds the driver to what the checker found. */
  static async run(
    settings: ConformanceSettings,
    seed: number,
    body: (fixture: Fixture) => Promise<void>,
    options: FixtureOptions = {},
  ): Promise<void> {
    const fixture = new Fixture(settings, seed, options)
    patience.milliseconds = settings.patience ?? 20_000
    try {
      fixture.subject = await fixture.#setUp()
      await body(fixture)
      await mustSettle(fixture.graph.close(), 'closing the graph')
    } catch (error) {
      await mustSettle(fixture.graph.close(), 'closing the graph').catch(() => undefined)
      throw error
    } finally {
      await fixture.subject.tearDown?.()
    }
    must(fixture.findings.length === 0, `broken promises:\n  ${[...new Set(fixture.findings)].join('\n  ')}`)
  }

  get size(): number {
    return this.#size
  }

  /** Opens the subject; `base` are options that every node has, such as `readOnly`. */
  open(base: Definition = {}): Promise<Disk> {
    return this.graph.addUnchecked({ discard: 'unmap', ...this.subject.definition, ...base })
  }

  /** A model of what the subject holds now. */
  model(disk: Disk): Model {
    const bytes = new Uint8Array(disk.size)
    bytes.set(this.subject.content?.subarray(0, disk.size) ?? [])
    return new Model(bytes, this.subject.below)
  }

  /** A definition of a file in memory with the faults above it. */
  storage(name: string): Definition {
    return { driver: 'testkit-fault', file: { driver: 'testkit-file', name } }
  }

  async #setUp(): Promise<Subject> {
    const { settings, size, files, graph } = this
    const context: SetUpContext = { size, blank: this.#blank, files, graph, storage: (name) => this.storage(name) }
    return settings.setUp === undefined ? defaultSubject(settings, context) : settings.setUp(context)
  }
}

async function defaultSubject(settings: ConformanceSettings, context: SetUpContext): Promise<Subject> {
  const { driver, options = {}, createOptions = {} } = settings
  const child = Object.entries(driver.options).find(([, schema]) => schema.type === 'child' && schema.required)?.[0]
  must(child !== undefined, `driver '${driver.name}' has no required child: give setUp() to conformance()`)
  const file = context.files.put('image')
  const definition = { driver: driver.name, ...options, [child]: context.storage('image') }
  if (driver.create !== undefined) {
    const storage = { driver: 'testkit-file', name: 'image' }
    await context.graph.createUnchecked({ driver: driver.name, size: context.size, ...createOptions, [child]: storage })
    return { definition }
  }
  must(driver.kind === 'filter', `driver '${driver.name}' creates no images: give setUp() to conformance()`)
  const content = context.blank
    ? new Uint8Array(context.size)
    : Uint8Array.from({ length: context.size }, (_, i) => (i % 253) + 1)
  file.truncate(context.size)
  if (!context.blank) file.write(0, content)
  return { definition, content }
}

/** What an opened image can do, as the names of its optional methods. */
export function capabilitiesOf(image: OpenImage): ReadonlySet<string> {
  const names = [
    'write',
    'writeZeroes',
    'discard',
    'flush',
    'blockStatus',
    'copyRange',
    'truncate',
    'info',
    'check',
    'amend',
    'snapshots',
    'reopen',
  ] as const
  const found = new Set<string>(names.filter((name) => image[name] !== undefined))
  if (image.writeZeroes !== undefined && ((image.zeroFlags ?? 0) & Flag.NoFallback) !== 0) found.add('zeroes')
  return found
}
