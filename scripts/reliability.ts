/**
 * `npm run reliability -- --seed N`: the bars that every change of a format, and of the daemon, has to pass, with their figures.
 *
 *     --seed N            repeats a run; default: a new seed, which is printed
 *     --crash N           crash states in all (1000)
 *     --differential N    sequences per format (200)
 *     --mutations N       damaged images (20000)
 *     --kills N           daemons that are killed under load (300)
 *     --save FOLDER       keeps the images of crashes and mutations that fail
 *     --format FORMAT     only this format; may be given more than once
 *     --only BAR          crash, differential, mutations, errors or kills; may be given more than once
 *
 * The exit status is 1 when a bar is missed.
 */
import { mkdirSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { findTool, randomSeed } from '@diskgraph/driver-testkit'
import {
  type Bar,
  crashBar,
  differentialBar,
  errorBar,
  mutationBar,
  type Run,
  summaryOf,
  type Verdict,
  verdictOf,
} from './reliability/bars.ts'
import { killBar } from './reliability/killed-daemon.ts'
import { findSubjects } from './reliability/subjects.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    crash: { type: 'string', default: '1000' },
    differential: { type: 'string', default: '200' },
    mutations: { type: 'string', default: '20000' },
    kills: { type: 'string', default: '300' },
    save: { type: 'string' },
    format: { type: 'string', multiple: true },
    only: { type: 'string', multiple: true },
  },
})

const seed = values.seed === undefined ? randomSeed() : Number(values.seed)
const peers = findTool('qemu-img') !== undefined && findTool('qemu-io') !== undefined
if (!peers && process.env.DISKGRAPH_REQUIRE_PEERS === '1') throw new Error('qemu-img and qemu-io are missing')

const subjects = (await findSubjects()).filter(({ format }) => values.format?.includes(format) ?? true)
const run: Run = { subjects, seed, peers, save: values.save }
if (values.save !== undefined) mkdirSync(values.save, { recursive: true })

const bars: Readonly<Record<string, () => Promise<Bar>>> = {
  crash: () => crashBar(run, Number(values.crash)),
  differential: () => differentialBar(run, Number(values.differential)),
  mutations: () => mutationBar(run, Number(values.mutations)),
  errors: () => errorBar(run),
  kills: () => killBar(run, Number(values.kills)),
}

console.log(`reliability, seed ${seed}${peers ? '' : ' (without qemu-img and qemu-io: their judgement is left out)'}`)
const verdicts: Verdict[] = []
for (const [name, runBar] of Object.entries(bars)) {
  if (values.only !== undefined && !values.only.includes(name)) continue
  const start = performance.now()
  const bar = await runBar()
  const seconds = ((performance.now() - start) / 1000).toFixed(1)
  const verdict = verdictOf(bar)
  verdicts.push(verdict)
  console.log(`${verdict}  ${name}: ${bar.figures}  [${seconds} s]`)
  for (const line of bar.details) console.log(`    ${line}`)
}
console.log(summaryOf(verdicts))
process.exitCode = verdicts.includes('MISSED') ? 1 : 0
