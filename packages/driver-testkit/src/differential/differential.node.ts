/**
 * The differential test: random steps on an image of the driver under test and on a twin that qemu-io works on.
 *
 * After every step both must have succeeded, or failed with the same words, and reads must show the same bytes. At
 * the end of a sequence both images are closed, and the real qemu-img must find them equal, ours without errors, and
 * the same map for both; and our driver must open the twin and read the same bytes from it.
 */
import type { Disk } from '@diskgraph/core'
import { Random } from '../random.ts'
import { loadFile, runTool, storeFile, TempFolder } from '../tools.node.ts'
import { OurSide, type Outcome, type SideSettings, TheirSide } from './sides.node.ts'
import { type Step, StepGenerator, type StepKind } from './steps.ts'

/** What {@link differentialTest} does. */
export interface DifferentialSettings extends SideSettings {
  readonly cluster?: number
  readonly weights?: Readonly<Partial<Record<StepKind, number>>>
  readonly seed: number
  readonly sequences: number
  /** Steps per sequence. Default 30. */
  readonly operations?: number
  /** Compare `qemu-img map` of both. Default true. */
  readonly compareMap?: boolean
  /** Run `qemu-img check` on ours. Default true. */
  readonly check?: boolean
}

/** What differs: how a step ended, what it read, the content, the findings of a check, the map; or ours has a bug. */
export type DifferenceKind = 'outcome' | 'read' | 'content' | 'check' | 'map' | 'bug'

/** Something that differs. */
export interface Difference {
  readonly kind: DifferenceKind
  readonly text: string
  /** Reproduces the sequence with the same settings. */
  readonly sequenceSeed: number
  readonly steps: readonly Step[]
}

/** The figures of a differential test. */
export interface DifferentialReport {
  sequences: number
  operations: number
  /** Steps that failed on both sides, with the same words and with others. */
  sameErrors: number
  otherErrors: number
  readonly differences: Difference[]
  /** Pairs of error texts that differ, as `ours | theirs`. */
  readonly errorTexts: Set<string>
}

const defaultWeights: Readonly<Partial<Record<StepKind, number>>> = {
  write: 10,
  zeroes: 4,
  discard: 3,
  read: 5,
  flush: 1,
  reopen: 0.3,
}

/** Runs a differential test; needs qemu-img, qemu-io and stdbuf. Stops at ten differences. */
export async function differentialTest(settings: DifferentialSettings): Promise<DifferentialReport> {
  const report = emptyReport()
  await using folder = await TempFolder.make()
  const seeds = new Random(settings.seed)
  for (let i = 0; i < settings.sequences && report.differences.length < 10; i++) {
    const seed = seeds.word()
    await new Sequence(settings, seed, randomSteps(settings, seed), folder, report).run()
    report.sequences++
  }
  return report
}

function emptyReport(): DifferentialReport {
  return { sequences: 0, operations: 0, sameErrors: 0, otherErrors: 0, differences: [], errorTexts: new Set() }
}

function randomSteps(settings: DifferentialSettings, seed: number): Step[] {
  const { size, cluster = 65536, weights = {}, operations = 30 } = settings
  const generator = new StepGenerator({ size, cluster, weights: { ...defaultWeights, ...weights } }, new Random(seed))
  return Array.from({ length: operations }, () => generator.next())
}

/** Leaves out steps of a difference as long as something still differs. Takes some seconds. */
export async function shrinkDifference(settings: DifferentialSettings, difference: Difference): Promise<Difference> {
  await using folder = await TempFolder.make()
  let best = difference
  for (let length = Math.ceil(best.steps.length / 2); length >= 1; length = length === 1 ? 0 : Math.ceil(length / 2)) {
    for (let at = best.steps.length - length; at >= 0; at -= length) {
      const fewer = best.steps.filter((_, i) => i < at || i >= at + length)
      const report = emptyReport()
      await new Sequence(settings, best.sequenceSeed, fewer, folder, report).run()
      best = report.differences.find(({ kind }) => kind === best.kind) ?? best
    }
  }
  return best
}

class Sequence {
  readonly #settings: DifferentialSettings
  readonly #seed: number
  readonly #folder: TempFolder
  readonly #report: DifferentialReport
  readonly #planned: readonly Step[]
  readonly #steps: Step[] = []
  readonly #ours: OurSide
  readonly #theirs: TheirSide

  constructor(
    settings: DifferentialSettings,
    seed: number,
    steps: readonly Step[],
    folder: TempFolder,
    report: DifferentialReport,
  ) {
    this.#settings = settings
    this.#seed = seed
    this.#planned = steps
    this.#folder = folder
    this.#report = report
    this.#ours = new OurSide(settings, folder.file('base'))
    this.#theirs = new TheirSide(settings, folder.file('theirs'), folder.file('base'))
  }

  async run(): Promise<void> {
    try {
      if (this.#settings.backing !== undefined) this.#putBase()
      await this.#ours.create()
      await this.#theirs.create()
      await this.#ours.open()
      this.#theirs.open()
      if (!(await this.#runSteps())) return
      await this.#ours.close()
      await this.#theirs.close()
      await this.#compareImages()
    } catch (error) {
      this.#differ('bug', `ours throws ${(error as Error).stack ?? String(error)}`)
    } finally {
      await this.#ours.close().catch(() => undefined)
      await this.#theirs.close()
    }
  }

  /** The same base for both sides: data with holes. */
  #putBase(): void {
    const { size } = this.#settings
    const base = this.#ours.files.put('base')
    const random = new Random(this.#seed + 1)
    for (let i = 0; i < 12; i++) base.write(random.below(size / 2), random.bytes(random.between(1, size / 8)))
    base.truncate(Math.floor((size * 3) / 4 / 512) * 512)
    storeFile(this.#folder.file('base'), base)
  }

  async #runSteps(): Promise<boolean> {
    for (const step of this.#planned) {
      this.#steps.push(step)
      const [ours, theirs] = await Promise.all([this.#ours.perform(step), this.#theirs.perform(step)])
      this.#report.operations++
      if (this.#sameOutcome(ours, theirs)) continue
      return false
    }
    return true
  }

  #sameOutcome(ours: Outcome, theirs: Outcome): boolean {
    if ((ours.error === undefined) !== (theirs.error === undefined)) {
      this.#differ('outcome', `ours ${ours.error ?? 'succeeds'}, theirs ${theirs.error ?? 'succeeds'}`)
      return false
    }
    if (ours.error !== undefined) {
      if (ours.error === theirs.error) this.#report.sameErrors++
      else {
        this.#report.otherErrors++
        this.#report.errorTexts.add(`${ours.error} | ${theirs.error}`)
      }
      return true
    }
    const at = ours.data?.findIndex((byte, i) => byte !== theirs.data?.[i]) ?? -1
    if (at < 0) return true
    this.#differ('read', `byte ${at} of the read is ${ours.data?.[at]}, theirs ${theirs.data?.[at]}`)
    return false
  }

  async #compareImages(): Promise<void> {
    const { format, compareMap = true, check = true } = this.#settings
    const path = this.#folder.file('ours')
    storeFile(path, this.#ours.files.file('image'))
    const compared = await runTool('qemu-img', ['compare', '-f', format, '-F', format, path, this.#theirs.path])
    if (compared.status !== 0) this.#differ('content', `qemu-img compare: ${compared.stdout}${compared.stderr}`)
    if (check) {
      const checked = await runTool('qemu-img', ['check', '-f', format, path])
      if (checked.status !== 0 && checked.status !== 63) {
        this.#differ('check', `qemu-img check of ours, status ${checked.status}: ${checked.stdout}${checked.stderr}`)
      }
    }
    if (compareMap) await this.#compareMaps(path)
    await this.#openTheirs()
  }

  async #compareMaps(path: string): Promise<void> {
    const [ours, theirs] = await Promise.all([this.#map(path), this.#map(this.#theirs.path)])
    if (ours === theirs) return
    const a = ours.split('\n')
    const b = theirs.split('\n')
    const at = a.findIndex((line, i) => line !== b[i])
    const show = (lines: readonly string[]): string => lines.slice(at, at + 2).join(' | ')
    this.#differ('map', `the maps differ at extent ${at}: ours ${show(a)}; theirs ${show(b)}`)
  }

  /** The extents that qemu-img sees, one per line, without host offsets and merged where these alone differ. */
  async #map(path: string): Promise<string> {
    const { stdout } = await runTool('qemu-img', ['map', '-f', this.#settings.format, '--output=json', path])
    const lines: { start: number; length: number; what: string }[] = []
    for (const extent of JSON.parse(stdout) as Record<string, number | boolean>[]) {
      // Whether stored data is a hole of the file underneath is up to the file system.
      const zero = extent.data === true ? 'or not' : extent.zero
      const what = `depth ${extent.depth}, present ${extent.present}, data ${extent.data}, zero ${zero}`
      const last = lines[lines.length - 1]
      if (last?.what === what) last.length += extent.length as number
      else lines.push({ start: extent.start as number, length: extent.length as number, what })
    }
    return lines.map(({ start, length, what }) => `${start} +${length}: ${what}`).join('\n')
  }

  /** Our driver reads the image that the real tools made. */
  async #openTheirs(): Promise<void> {
    const mine = await this.#content(this.#ours)
    this.#ours.files.put('image', loadFile(this.#theirs.path))
    const other = await this.#content(this.#ours)
    const at = mine.findIndex((byte, i) => byte !== other[i])
    if (at >= 0 || mine.length !== other.length)
      this.#differ('content', `read by our driver, the twin differs at ${at}`)
  }

  async #content(side: OurSide): Promise<Uint8Array> {
    const disk: Disk = await side.open()
    const bytes = new Uint8Array(disk.size)
    await disk.read(0, bytes)
    if (disk.node.image.check !== undefined) {
      const { corruptions, leaks } = await disk.check({ repair: 'none' })
      if (corruptions + leaks > 0)
        this.#differ('check', `our check finds ${corruptions} corruptions and ${leaks} leaks`)
    }
    await side.close()
    return bytes
  }

  #differ(kind: DifferenceKind, text: string): void {
    this.#report.differences.push({ kind, text, sequenceSeed: this.#seed, steps: [...this.#steps] })
  }
}
