/** The four bars. Each returns its figures as text, whether it is passed, and what went wrong. */
import { join } from 'node:path'
import {
  type CrashJudge,
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
  qemuImgJudge,
  type ReliabilityMutations,
  type ReliabilitySubject,
  type ReliabilityVariant,
  runTool,
  type SweepReport,
  shrinkDifference,
  storeFile,
  TempFolder,
} from '@diskgraph/driver-testkit'
import { intactImages } from './images.ts'
import { type FoundSubject, type SubjectVariant, variantsOf } from './subjects.ts'

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
  /** The drivers, with their variants. */
  readonly subjects: readonly FoundSubject[]
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

function crashSettings({ subject, variant }: SubjectVariant, seed: number): CrashTestSettings {
  const { createOptions, cluster, size, guest, backing } = variant
  return {
    driver: subject.driver,
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
export async function crashBar({ subjects, seed, peers, save }: Run, states: number): Promise<Bar> {
  await using folder = await TempFolder.make()
  const details: string[] = []
  const total = { states: 0, corrupt: 0, lost: 0, unopenable: 0, leaking: 0, judged: 0, staleSectors: 0 }
  const variants = variantsOf(subjects)
  for (const [i, variant] of variants.entries()) {
    const report = await crashTest({
      ...crashSettings(variant, seed + i),
      states: share(states, variants.length, i),
      statesPerWorkload: 50,
      judges: judgesOf(variant, folder, peers),
    })
    for (const key of Object.keys(total) as (keyof typeof total)[]) total[key] += report[key]
    details.push(...crashDetails(variant.name, report, save))
  }
  const controls = await controlVerdicts(variants, folder, seed, peers)
  const blind = [...controls].filter(([, found]) => !found).map(([name]) => name)
  if (blind.length > 0) details.push(`negative controls that pass although they must not: ${blind.join(', ')}`)
  const { corrupt, lost, unopenable, leaking, judged, staleSectors } = total
  return {
    passed: corrupt + lost + unopenable + blind.length === 0 && total.states === states,
    figures: `${total.states} states, ${corrupt} corrupt, ${lost} lost, ${unopenable} unopenable (${leaking} with leaks, ${judged} seen by qemu-img, ${staleSectors} stale sectors); ${controls.size - blind.length} of ${controls.size} negative controls found out`,
    details,
  }
}

/** Workloads until a negative control must have been found out: some have no moment at which it shows. */
const mostWorkloads = 6

/** Whose metadata has every order that the negative controls break; the crash tests of each format have controls of their own. */
const controlled = 'qcow2'

/** Whether each negative control is found out, for which there is a variant. */
async function controlVerdicts(
  variants: readonly SubjectVariant[],
  folder: TempFolder,
  seed: number,
  peers: boolean,
): Promise<Map<string, boolean>> {
  const verdicts = new Map<string, boolean>()
  for (const [name, change] of Object.entries(negativeControls)) {
    const backing = name === 'dataAfterMetadata'
    const variant = variants.find(
      ({ subject, variant: one }) =>
        subject.format === controlled && (one.backing !== undefined) === backing && one.cluster < 65536,
    )
    if (variant === undefined) continue
    verdicts.set(name, false)
    for (let i = 0; i < mostWorkloads && verdicts.get(name) === false; i++) {
      const settings = { ...crashSettings(variant, seed + i), judges: judgesOf(variant, folder, peers), judgeEvery: 25 }
      const report = await crashTest({ ...settings, states: 150, change, mostFindings: 5 })
      verdicts.set(name, report.corrupt + report.lost + report.unopenable > 0)
    }
  }
  return verdicts
}

function judgesOf({ subject, variant }: SubjectVariant, folder: TempFolder, peers: boolean): CrashJudge[] {
  const { format, isDirty, judge } = subject
  if (!peers || (judge === undefined && !subject.checked)) return []
  if (judge !== undefined) return [judge(folder)]
  const dirty = isDirty === undefined ? {} : { dirty: isDirty }
  return [qemuImgJudge({ format, folder, ...dirty, checkOnly: variant.backing !== undefined })]
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

/** Random sequences beside qemu-io, on all variants. Each subject gets `sequences`, shared by its variants. */
export async function differentialBar({ subjects, seed, peers }: Run, sequences: number): Promise<Bar> {
  if (!peers) return { passed: false, skipped: true, figures: 'qemu-img and qemu-io are missing', details: [] }
  const reports: [string, DifferentialReport][] = []
  const known = subjects.filter(({ unknownToQemu }) => unknownToQemu !== true)
  for (const [i, { subject, variant, name }] of variantsOf(known).entries()) {
    const settings = differentialSettings(
      subject,
      variant,
      seed + i,
      share(sequences, subject.variants.length, subject.variants.indexOf(variant)),
    )
    const report = await differentialTest(settings)
    reports.push([name, report])
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
    figures: `${sum((r) => r.sequences)} sequences of ${known.map(({ format }) => format).join(', ')}, ${sum((r) => r.operations)} operations, ${differences} differences; ${same} errors with the same words, ${other} with others`,
    details: [
      ...reports.flatMap(([name, report]) => differenceDetails(name, report)),
      ...[...texts].slice(0, 5).map((text) => `other words: ${text}`),
    ],
  }
}

function differentialSettings(
  { driver, format, checked, compareMap = true }: ReliabilitySubject,
  variant: ReliabilityVariant,
  seed: number,
  sequences: number,
): DifferentialSettings {
  const { createOptions, qemuCreateOptions, size, cluster, steps, backing } = variant
  return {
    driver,
    format,
    createOptions,
    ...(qemuCreateOptions === '' ? {} : { qemuCreateOptions }),
    size: Math.min(size, cluster * 300),
    cluster,
    compareMap,
    check: checked,
    weights: steps,
    ...(backing === undefined ? {} : { backing: { option: backing, createOptions: backingOf } }),
    seed,
    sequences,
  }
}

const backingOf = (path: string): Record<string, unknown> => ({ backingFile: path, backingFmt: 'raw' })

function differenceDetails(name: string, report: DifferentialReport): string[] {
  return report.differences.slice(0, 3).map(({ kind, text, sequenceSeed, steps }) => {
    const last = steps.slice(-5).map((step) => JSON.stringify(step))
    return `${name}: ${kind}: ${text.trim()} [sequence ${sequenceSeed}, ${steps.length} steps, the last: ${last.join(' ')}]`
  })
}

/** Damaged images of all subjects that have something to damage. */
export async function mutationBar({ subjects, seed, peers, save }: Run, cases: number): Promise<Bar> {
  const damaged = subjects.filter(({ mutations }) => mutations !== undefined)
  const total = { cases: 0, uncaught: 0, hangs: 0, crashes: 0, growth: 0 }
  const details: string[] = []
  for (const [i, subject] of damaged.entries()) {
    const { fields } = subject.mutations as ReliabilityMutations
    const images = await intactImages(subject, peers)
    const child = new URL('./mutation-child.ts', import.meta.url)
    const settings = { child, childArguments: [subject.module], images, seed }
    const report = await mutationTest({ ...settings, cases: share(cases, damaged.length, i) })
    const intact = images.map((file) => ({ file, fields: fields(file.bytes()) }))
    for (const key of ['cases', 'uncaught', 'hangs', 'crashes'] as const) total[key] += report[key]
    total.growth = Math.max(total.growth, Math.round(report.memoryGrowth / 2 ** 20))
    for (const { kind, index, what, text } of report.findings.slice(0, 8)) {
      const saved = save === undefined ? '' : keep(save, `case-${index}`, mutatedImage(seed, index, intact).file)
      details.push(`${subject.format}: ${kind} in case ${index}: ${text.slice(0, 400)} [${what}${saved}]`)
    }
  }
  const { uncaught, hangs, crashes, growth } = total
  return {
    passed: uncaught + hangs + crashes === 0 && growth <= 256 && total.cases === cases,
    figures: `${total.cases} images, ${uncaught} uncaught errors, ${hangs} hangs over 2 s, ${crashes} crashes, ${growth} MiB growth`,
    details,
  }
}

/** Every call to the storage fails in turn. */
export async function errorBar({ subjects, peers }: Run): Promise<Bar> {
  await using folder = await TempFolder.make()
  const details: string[] = []
  const total = { runs: 0, swallowed: 0, corrupt: 0, lost: 0, unclean: 0, otherCodes: 0 }
  const add = (name: string, report: SweepReport): void => {
    for (const key of Object.keys(total) as (keyof typeof total)[]) total[key] += report[key]
    details.push(...sweepDetails(name, report))
  }
  for (const { subject, variant, name } of variantsOf(subjects)) {
    const { driver, format, checked } = subject
    const { createOptions, cluster, backing } = variant
    if (backing !== undefined) continue
    const judge = (image: PagedFile): Promise<string | undefined> => judgeAfterFault(folder, format, image)
    const settings = { driver, createOptions, cluster, size: cluster * 64 }
    add(name, await errorSweep(peers && checked ? { ...settings, judge } : settings))
  }
  const { runs, swallowed, corrupt, lost, unclean, otherCodes } = total
  return {
    passed: swallowed + corrupt + lost + unclean === 0,
    figures: `${runs} failed calls, ${swallowed} swallowed, ${corrupt} corrupt, ${lost} lost, ${unclean} unclean (${otherCodes} reported with another code)`,
    details,
  }
}

async function judgeAfterFault(folder: TempFolder, format: string, image: PagedFile): Promise<string | undefined> {
  const path = folder.file('faulty')
  storeFile(path, image)
  const { status, stdout, stderr } = await runTool('qemu-img', ['check', '-f', format, path])
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
