/**
 * `npm run reliability -- --seed N`: the four bars that every change of a format has to pass, with their figures.
 *
 *     --seed N            repeats a run; default: a new seed, which is printed
 *     --crash N           crash states in all (1000)
 *     --differential N    sequences per format (200)
 *     --mutations N       damaged images (20000)
 *     --only BAR          crash, differential, mutations or errors; may be given more than once
 *
 * The exit status is 1 when a bar is missed.
 */
import { parseArgs } from 'node:util'
import { findTool, randomSeed } from '@diskgraph/driver-testkit'
import { type Bar, crashBar, differentialBar, errorBar, mutationBar } from './reliability/bars.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    crash: { type: 'string', default: '1000' },
    differential: { type: 'string', default: '200' },
    mutations: { type: 'string', default: '20000' },
    only: { type: 'string', multiple: true },
  },
})

const seed = values.seed === undefined ? randomSeed() : Number(values.seed)
const peers = findTool('qemu-img') !== undefined && findTool('qemu-io') !== undefined
if (!peers && process.env.DISKGRAPH_REQUIRE_PEERS === '1') throw new Error('qemu-img and qemu-io are missing')

const bars: Readonly<Record<string, () => Promise<Bar>>> = {
  crash: () => crashBar(seed, Number(values.crash), peers),
  differential: () => differentialBar(seed, Number(values.differential), peers),
  mutations: () => mutationBar(seed, Number(values.mutations), peers),
  errors: () => errorBar(peers),
}

console.log(`reliability, seed ${seed}${peers ? '' : ' (without qemu-img and qemu-io: their judgement is left out)'}`)
let missed = 0
for (const [name, run] of Object.entries(bars)) {
  if (values.only !== undefined && !values.only.includes(name)) continue
  const start = performance.now()
  const bar = await run()
  const seconds = ((performance.now() - start) / 1000).toFixed(1)
  if (!bar.passed) missed++
  console.log(`${bar.passed ? 'passed' : 'MISSED'}  ${name}: ${bar.figures}  [${seconds} s]`)
  for (const line of bar.details) console.log(`    ${line}`)
}
console.log(missed === 0 ? 'all bars passed' : `${missed} bars missed`)
process.exitCode = missed === 0 ? 0 : 1
