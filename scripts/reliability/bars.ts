/** The four bars. Each returns its figures as text, whether it is passed, and what went wrong. */
import { join } from 'node:path'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { raw } from '@diskgraph/driver-raw'
import {
  type CrashReport,
  type CrashTestSettings,
  crashTest,
  type DifferentialReport,
  type DifferentialSettings,
  differentialTest,
  errorSweep,
  mutatedImage,
  mutationTest,
  negativeControls,
  type PagedFile,
  qcow2Fields,
  qemuImgJudge,
  runTool,
  type SweepReport,
  shrinkDifference,
  storeFile,
  TempFolder,
} from '@diskgraph/driver-testkit'
import { intactImages } from './images.ts'
import { isDirty, type Variant, variants } from './variants.ts'

/** The result of one bar. */
export interface Bar {
  readonly passed: boolean
  /** Did not run, for want of a peer: neither passed nor missed. */
  readonly skipped?: boolean
  readonly figures: string
  readonly details: readonly string[]
}

/** What all bars are told. */
export interface Run {
  readonly seed: number
  /** Whether the real tools judge too. */
  readonly peers: boolean
  /** A folder for images that fail. */
  readonly save: string | undefined
}

/** How a bar ended. */
export type Verdict = 'passed' | 'MISSED' | 'skipped'

/** The verdict on one bar. */
export function verdictOf({ passed, skipped = false }: Bar): Verdict {
  if (skipped) return 'skipped'
  return passed ? 'passed' : 'MISSED'
}

/** The last line of a run: only when every bar has run and none is missed, all have passed. */
export function summaryOf(verdicts: readonly Verdict[]): string {
  const count = (verdict: Verdict): number => verdicts.filter((one) => one === verdict).length
  if (verdicts.length > 0 && count('passed') === verdicts.length) return 'all bars passed'
  return `${count('passed')} bars passed, ${count('MISSED')} missed, ${count('skipped')} skipped`
}

/** `count` divided into `parts`, the rest among the first. */
function share(count: number, parts: number, index: number): number {
  return Math.floor(count / parts) + (index < count % parts ? 1 : 0)
}

function crashSettings(variant: Variant, seed: number): CrashTestSettings {
  const { createOptions, cluster, size, guest, backing } = variant
  return {
    driver: qcow2,
    createOptions,
    cluster,
    size,
    weights: guest,
    seed,
    states: 0,
    ...(backing === undefined ? {} : { backing }),
  }
}

/** Crash states of all variants; and the negative controls, which must be found out. */
export async function crashBar({ seed, peers, save }: Run, states: number): Promise<Bar> {
  await using folder = await TempFolder.make()
  const details: string[] = []
  const total = { states: 0, corrupt: 0, lost: 0, unopenable: 0, leaking: 0, judged: 0, staleSectors: 0 }
  for (const [i, variant] of variants.entries()) {
    const judge = qemuImgJudge({ format: 'qcow2', folder, dirty: isDirty, checkOnly: variant.backing !== undefined })
    const report = await crashTest({
      ...crashSettings(variant, seed + i),
      states: share(states, variants.length, i),
      statesPerWorkload: 50,
      judges: peers ? [judge] : [],
    })
    for (const key of Object.keys(total) as (keyof typeof total)[]) total[key] += report[key]
    details.push(...crashDetails(variant.name, report, save))
  }
  const blind: string[] = []
  for (const [name, change] of Object.entries(negativeControls)) {
    const backing = name === 'dataAfterMetadata'
    const variant = variants.find((one) => (one.backing !== undefined) === backing && one.cluster < 65536) as Variant
    const judges = peers ? [qemuImgJudge({ format: 'qcow2', folder, dirty: isDirty, checkOnly: backing })] : []
    const settings = { ...crashSettings(variant, seed), judges, judgeEvery: 25 }
    const report = await crashTest({ ...settings, states: 150, change, mostFindings: 5 })
    if (report.corrupt + report.lost + report.unopenable === 0) blind.push(name)
  }
  if (blind.length > 0) details.push(`negative controls that pass although they must not: ${blind.join(', ')}`)
  const { corrupt, lost, unopenable, leaking, judged, staleSectors } = total
  return {
    passed: corrupt + lost + unopenable + blind.length === 0 && total.states === states,
    figures: `${total.states} states, ${corrupt} corrupt, ${lost} lost, ${unopenable} unopenable (${leaking} with leaks, ${judged} seen by qemu-img, ${staleSectors} stale sectors); ${Object.keys(negativeControls).length - blind.length} of ${Object.keys(negativeControls).length} negative controls found out`,
    details,
  }
}

function crashDetails(name: string, report: CrashReport, save: string | undefined): string[] {
  return report.findings.slice(0, 5).map(({ kind, text, workloadSeed, index, state }) => {
    const where = `workload ${workloadSeed}, state ${index} at time ${state.time} (${state.choice} of ${state.openChanges})`
    const saved = keep(save, `crash-${workloadSeed}-${index}`, state.files.get('image'))
    return `${name}: ${kind}: ${text} [${where}${saved}]`
  })
}

/** Stores an image that failed, if the run is to keep them. Returns where, for the message. */
function keep(save: string | undefined, name: string, image: PagedFile | undefined): string {
  if (save === undefined || image === undefined) return ''
  const path = join(save, name)
  storeFile(path, image)
  return `, kept as ${path}`
}

/** Random sequences beside qemu-io, on raw and on all variants of qcow2. */
export async function differentialBar({ seed, peers }: Run, sequences: number): Promise<Bar> {
  if (!peers) return { passed: false, skipped: true, figures: 'qemu-img and qemu-io are missing', details: [] }
  const raws = await differentialTest({
    driver: raw,
    format: 'raw',
    size: 2 ** 21,
    weights: { truncate: 1 },
    compareMap: false,
    seed,
    sequences,
  })
  const reports: [string, DifferentialReport][] = [['raw', raws]]
  for (const [i, variant] of variants.entries()) {
    const settings: DifferentialSettings = {
      driver: qcow2,
      format: 'qcow2',
      createOptions: variant.createOptions,
      qemuCreateOptions: variant.qemuCreateOptions,
      size: Math.min(variant.size, variant.cluster * 300),
      cluster: variant.cluster,
      weights: variant.steps,
      ...(variant.backing === undefined ? {} : { backing: { option: variant.backing, createOptions: backingOf } }),
      seed: seed + i,
      sequences: share(sequences, variants.length, i),
    }
    const report = await differentialTest(settings)
    reports.push([variant.name, report])
    // Content weighs more than how it is allocated.
    report.differences.sort((a, b) => Number(a.kind === 'map') - Number(b.kind === 'map'))
    const [first] = report.differences
    if (first !== undefined) report.differences[0] = await shrinkDifference(settings, first)
  }
  const sum = (pick: (report: DifferentialReport) => number): number => reports.reduce((n, [, r]) => n + pick(r), 0)
  const differences = sum((report) => report.differences.length)
  const same = sum((report) => report.sameErrors)
  const other = sum((report) => report.otherErrors)
  const texts = new Set(reports.flatMap(([, report]) => [...report.errorTexts]))
  return {
    passed: differences === 0,
    figures: `${sum((r) => r.sequences)} sequences (${raws.sequences} of raw), ${sum((r) => r.operations)} operations, ${differences} differences; ${same} errors with the same words, ${other} with others`,
    details: [
      ...reports.flatMap(([name, report]) => differenceDetails(name, report)),
      ...[...texts].slice(0, 5).map((text) => `other words: ${text}`),
    ],
  }
}

const backingOf = (path: string): Record<string, unknown> => ({ backingFile: path, backingFmt: 'raw' })

function differenceDetails(name: string, report: DifferentialReport): string[] {
  return report.differences.slice(0, 3).map(({ kind, text, sequenceSeed, steps }) => {
    const last = steps.slice(-5).map((step) => JSON.stringify(step))
    return `${name}: ${kind}: ${text.trim()} [sequence ${sequenceSeed}, ${steps.length} steps, the last: ${last.join(' ')}]`
  })
}

/** Damaged images. */
export async function mutationBar({ seed, peers, save }: Run, cases: number): Promise<Bar> {
  const images = await intactImages(peers)
  const report = await mutationTest({ child: new URL('./qcow2-child.ts', import.meta.url), images, seed, cases })
  const intact = images.map((file) => ({ file, fields: qcow2Fields(file.bytes()) }))
  const growth = Math.round(report.memoryGrowth / 2 ** 20)
  return {
    passed: report.uncaught + report.hangs + report.crashes === 0 && growth <= 256 && report.cases === cases,
    figures: `${report.cases} images, ${report.uncaught} uncaught errors, ${report.hangs} hangs over 2 s, ${report.crashes} crashes, ${growth} MiB growth (case ${report.memoryCase})`,
    details: report.findings.slice(0, 8).map(({ kind, index, what, text }) => {
      const saved = save === undefined ? '' : keep(save, `case-${index}`, mutatedImage(seed, index, intact).file)
      return `${kind} in case ${index}: ${text.slice(0, 400)} [${what}${saved}]`
    }),
  }
}

/** Every call to the storage fails in turn. */
export async function errorBar({ peers }: Run): Promise<Bar> {
  await using folder = await TempFolder.make()
  const details: string[] = []
  const total = { runs: 0, swallowed: 0, corrupt: 0, lost: 0, unclean: 0, otherCodes: 0 }
  const add = (name: string, report: SweepReport): void => {
    for (const key of Object.keys(total) as (keyof typeof total)[]) total[key] += report[key]
    details.push(...sweepDetails(name, report))
  }
  add('raw', await errorSweep({ driver: raw }))
  for (const { name, createOptions, cluster, backing } of variants) {
    if (backing !== undefined) continue
    const report = await errorSweep({
      driver: qcow2,
      createOptions,
      cluster,
      size: cluster * 64,
      ...(peers ? { judge: (image: PagedFile) => judgeAfterFault(folder, image) } : {}),
    })
    add(name, report)
  }
  const { runs, swallowed, corrupt, lost, unclean, otherCodes } = total
  return {
    passed: swallowed + corrupt + lost + unclean === 0,
    figures: `${runs} failed calls, ${swallowed} swallowed, ${corrupt} corrupt, ${lost} lost, ${unclean} unclean (${otherCodes} reported with another code)`,
    details,
  }
}

async function judgeAfterFault(folder: TempFolder, image: PagedFile): Promise<string | undefined> {
  const path = folder.file('faulty')
  storeFile(path, image)
  const { status, stdout, stderr } = await runTool('qemu-img', ['check', '-f', 'qcow2', path])
  return status === 0 || status === 3 ? undefined : `qemu-img check: status ${status}: ${stdout}${stderr}`.slice(0, 300)
}

function sweepDetails(name: string, report: SweepReport): string[] {
  return report.findings
    .slice(0, 5)
    .map(
      ({ kind, verb, nth, code, call, text }) =>
        `${name}: ${kind}: '${verb}', call ${nth} (${call}) fails with ${code}: ${text}`,
    )
}
