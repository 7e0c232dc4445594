/**
 * The crash test: a workload is recorded, and then, for many moments of it, the states that a crash may leave are
 * judged.
 *
 * A state passes when the driver opens it for writing, finds no corruption (leaks are allowed), shows every flushed
 * sector, can write one more cluster, close, open, and still finds none. Judges from outside (a real `qemu-img
 * check`) see every tenth state, and every one that has failed already.
 */
import { type Disk, Graph } from '@diskgraph/core'
import { MemoryFiles } from '../memory-files.ts'
import type { PagedFile } from '../paged-file.ts'
import { Random } from '../random.ts'
import type { GuestLog } from './guest-log.ts'
import type { RecordedCall } from './recorder.ts'
import { holdsStamp } from './stamps.ts'
import { type CrashState, CrashWalk } from './states.ts'
import { imageDefinition, type RecordedWorkload, recordWorkload, type Workload } from './workload.ts'

/** A state as a judge from outside sees it. */
export interface JudgedState {
  readonly state: CrashState
  /** The files after the driver had opened and closed them; undefined when it could not. */
  readonly recovered: ReadonlyMap<string, PagedFile> | undefined
  /** Compares a whole disk with what the guest may expect: what is wrong, in words. */
  faultOfContent(bytes: Uint8Array): string | undefined
}

/** A judge from outside: what is wrong with a state, in words. */
export type CrashJudge = (judged: JudgedState) => Promise<string | undefined>

/** Changes a recording before states are made of it: the negative controls are such. */
export type RecordingChange = (calls: readonly RecordedCall[], guest: GuestLog) => readonly RecordedCall[]

/** What {@link crashTest} does. */
export interface CrashTestSettings extends Workload {
  readonly seed: number
  /** Crash states to judge. */
  readonly states: number
  /** States per recorded workload. Default 250. */
  readonly statesPerWorkload?: number
  readonly change?: RecordingChange
  readonly judges?: readonly CrashJudge[]
  /** Every how many states the judges from outside are asked. Default 10. */
  readonly judgeEvery?: number
  /** Allow a sector that was being written to show old data of a reused cluster. Default false. */
  readonly mayExposeReused?: boolean
  /** Stop after so many findings. Default 20. */
  readonly mostFindings?: number
}

/** One state that failed. */
export interface CrashFinding {
  readonly kind: 'corrupt' | 'lost' | 'unopenable' | 'judge'
  readonly text: string
  /** Reproduces it with the same settings: seed of the workload, and the number of the state in it. */
  readonly workloadSeed: number
  readonly index: number
  readonly state: CrashState
}

/** The figures of a crash test. */
export interface CrashReport {
  states: number
  /** States in which the driver or a judge found corruption. */
  corrupt: number
  /** States in which flushed sectors were lost. */
  lost: number
  unopenable: number
  /** States with leaks, which are allowed. */
  leaking: number
  /** Sectors that were being written and showed neither value. */
  staleSectors: number
  judged: number
  calls: number
  flushes: number
  readonly findings: CrashFinding[]
}

/** Runs a crash test; see the top of the file. */
export async function crashTest(settings: CrashTestSettings): Promise<CrashReport> {
  const report: CrashReport = {
    states: 0,
    corrupt: 0,
    lost: 0,
    unopenable: 0,
    leaking: 0,
    staleSectors: 0,
    judged: 0,
    calls: 0,
    flushes: 0,
    findings: [],
  }
  const seeds = new Random(settings.seed)
  const { mostFindings = 20 } = settings
  while (report.states < settings.states && report.findings.length < mostFindings) {
    const workloadSeed = seeds.word()
    const recorded = await recordWorkload(settings, new Random(workloadSeed))
    report.calls += recorded.calls.length
    report.flushes += recorded.calls.filter(({ kind }) => kind === 'flush').length
    await judgeStates(settings, recorded, workloadSeed, report)
  }
  return report
}

async function judgeStates(
  settings: CrashTestSettings,
  recorded: RecordedWorkload,
  workloadSeed: number,
  report: CrashReport,
): Promise<void> {
  const random = new Random(workloadSeed + 1)
  const calls = settings.change?.(recorded.calls, recorded.guest) ?? recorded.calls
  const walk = new CrashWalk(recorded.files, calls)
  const count = Math.min(settings.statesPerWorkload ?? 250, settings.states - report.states)
  const times = crashTimes(recorded, count, random)
  for (const [index, time] of times.entries()) {
    walk.advance(time)
    const state = walk.state(time, random)
    const examination = new Examination(settings, recorded, state, random)
    await examination.run(index % (settings.judgeEvery ?? 10) === 0)
    report.states++
    report.leaking += examination.leaks > 0 ? 1 : 0
    report.staleSectors += examination.staleSectors
    report.judged += examination.asked ? 1 : 0
    for (const kind of ['corrupt', 'lost', 'unopenable'] as const) {
      const found = examination.faults.some(
        (fault) => fault.kind === kind || (kind === 'corrupt' && fault.kind === 'judge'),
      )
      if (found) report[kind]++
    }
    for (const { kind, text } of examination.faults) report.findings.push({ kind, text, workloadSeed, index, state })
    if (report.findings.length >= (settings.mostFindings ?? 20)) return
  }
}

/** Moments in rising order. Most lie in flushes of the guest: that is when drivers write their metadata. */
function crashTimes({ guest, end }: RecordedWorkload, count: number, random: Random): number[] {
  const times = Array.from({ length: count }, () => {
    if (guest.flushes.length === 0 || random.chance(0.4)) return random.between(0, end)
    const flush = random.pick(guest.flushes)
    return random.between(flush.start, flush.end)
  })
  return times.sort((a, b) => a - b)
}

class Examination {
  readonly faults: { readonly kind: CrashFinding['kind']; readonly text: string }[] = []
  leaks = 0
  staleSectors = 0
  asked = false
  readonly #settings: CrashTestSettings
  readonly #recorded: RecordedWorkload
  readonly #state: CrashState
  readonly #random: Random

  constructor(settings: CrashTestSettings, recorded: RecordedWorkload, state: CrashState, random: Random) {
    this.#settings = settings
    this.#recorded = recorded
    this.#state = state
    this.#random = random
  }

  async run(ask: boolean): Promise<void> {
    const files = new MemoryFiles()
    for (const [name, file] of this.#state.files) files.put(name, file.clone())
    const opened = await this.#attempt('unopenable', () => this.#recover(files))
    const recovered = opened ? new Map([...files.byName].map(([name, file]) => [name, file.clone()])) : undefined
    if (opened) await this.#attempt('unopenable', () => this.#goOn(files))
    if (!ask && this.faults.length === 0) return
    this.asked = (this.#settings.judges ?? []).length > 0
    const faultOfContent = (bytes: Uint8Array): string | undefined => this.#faultOfContent(bytes)?.text
    for (const judge of this.#settings.judges ?? []) {
      const text = await judge({ state: this.#state, recovered, faultOfContent })
      if (text !== undefined) this.faults.push({ kind: 'judge', text })
    }
  }

  /** Opens, checks, compares all content, closes. */
  async #recover(files: MemoryFiles): Promise<void> {
    await this.#withDisk(files, async (disk) => {
      await this.#check(disk, 'after the crash')
      const bytes = new Uint8Array(disk.size)
      await disk.read(0, bytes)
      const fault = this.#faultOfContent(bytes)
      if (fault !== undefined) this.faults.push(fault)
    })
  }

  /** Writes one more cluster, and checks what that leaves. */
  async #goOn(files: MemoryFiles): Promise<void> {
    const { cluster = 65536 } = this.#settings
    const data = new Uint8Array(cluster).fill(0x5e)
    let offset = 0
    await this.#withDisk(files, (disk) => {
      offset = this.#random.below(Math.floor(disk.size / cluster)) * cluster
      return disk.write(offset, data)
    })
    await this.#withDisk(files, async (disk) => {
      await this.#check(disk, 'after one more write')
      const buf = new Uint8Array(cluster)
      await disk.read(offset, buf)
      if (buf.some((byte) => byte !== 0x5e)) this.faults.push({ kind: 'lost', text: 'one more write is not read back' })
    })
  }

  async #check(disk: Disk, when: string): Promise<void> {
    if (disk.node.image.check === undefined) return
    const found: string[] = []
    const onFinding = (kind: string, text: string): void => {
      found.push(`${kind}: ${text}`)
    }
    const result = await disk.check({ repair: 'none', onFinding })
    this.leaks += result.leaks
    if (result.corruptions + result.checkErrors === 0) return
    const text = `${when}: ${result.corruptions} corruptions: ${found
      .filter((f) => !f.startsWith('leak'))
      .slice(0, 3)
      .join('; ')}`
    this.faults.push({ kind: 'corrupt', text })
  }

  #faultOfContent(bytes: Uint8Array): { readonly kind: 'lost'; readonly text: string } | undefined {
    const verdict = this.#recorded.guest.judge(this.#state.time, bytes)
    this.staleSectors += verdict.stale
    if (verdict.lost === 0 && (verdict.stale === 0 || this.#settings.mayExposeReused)) return undefined
    return {
      kind: 'lost',
      text: `${verdict.lost} lost, ${verdict.stale} stale sectors: ${verdict.examples.join('; ')}`,
    }
  }

  async #withDisk(files: MemoryFiles, work: (disk: Disk) => Promise<void>): Promise<void> {
    const { driver, drivers = [] } = this.#settings
    const graph = new Graph({ drivers: [driver, ...drivers, files.driver], onWarning: () => undefined })
    try {
      const storage = { driver: 'testkit-file', name: 'image' }
      await work(await graph.addUnchecked(imageDefinition(this.#settings, storage)))
    } catch (error) {
      await graph.close().catch(() => undefined)
      throw error
    }
    await graph.close()
  }

  async #attempt(kind: CrashFinding['kind'], work: () => Promise<void>): Promise<boolean> {
    try {
      await work()
      return true
    } catch (error) {
      this.faults.push({ kind, text: String(error) })
      return false
    }
  }
}

/** The names of {@link negativeControls}. */
export type NegativeControl = 'ignoreGuestFlush' | 'ignoreOwnFlushes' | 'dataAfterMetadata'

/**
 * Recordings as bad drivers would make them. A crash test that passes with one of these is blind:
 * - `ignoreGuestFlush`: the last flush to the storage in every flush of the guest does not happen;
 * - `ignoreOwnFlushes`: all others do not, those between refcounts and L2 tables, say;
 * - `dataAfterMetadata`: guest data reaches the storage only with the second flush after it. (Found out where new
 *   clusters hold copied data: use an image with a backing file.)
 */
export const negativeControls: Readonly<Record<NegativeControl, RecordingChange>> = {
  ignoreGuestFlush: (calls, guest) => {
    const last = lastFlushes(calls, guest)
    return calls.filter((call) => !last.has(call))
  },
  ignoreOwnFlushes: (calls, guest) => {
    const last = lastFlushes(calls, guest)
    return calls.filter((call) => call.kind !== 'flush' || last.has(call))
  },
  dataAfterMetadata: (calls) =>
    calls.map((call) => {
      if (call.data === undefined || !holdsStamp(call.data)) return call
      const flush = calls.find(({ kind, start }) => kind === 'flush' && start > call.end)
      return flush === undefined ? call : { ...call, end: flush.end }
    }),
}

/** In each flush of the guest, and in its close, the last flush to the storage. */
function lastFlushes(calls: readonly RecordedCall[], guest: GuestLog): Set<RecordedCall> {
  const last = new Set<RecordedCall>()
  for (const { start, end } of guest.flushes) {
    const inside = calls.filter((call) => call.kind === 'flush' && call.start >= start && call.end <= end)
    const final = inside.sort((a, b) => a.end - b.end).pop()
    if (final !== undefined) last.add(final)
  }
  return last
}
