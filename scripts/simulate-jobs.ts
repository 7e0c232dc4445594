/**
 * `npm run simulate:jobs -- --seed N --count M`: simulates live jobs, seeds N, N + 1 … in virtual time. The exit code is
 * 1 when a seed fails; the seed alone repeats it.
 */
import { parseArgs } from 'node:util'
import { simulateJob } from '../packages/jobs/test/live/simulation.ts'

const { values } = parseArgs({
  options: { seed: { type: 'string', default: '1' }, count: { type: 'string', default: '100' } },
})
const [first, count] = [Number(values.seed), Number(values.count)]
const outcomes = new Map<string, number>()
const begin = process.cpuUsage()
let requests = 0
let failures = 0
for (let seed = first; seed < first + count && failures < 10; seed++) {
  try {
    const report = await simulateJob(seed)
    requests += report.requests
    const name = `${report.kind}: ${report.outcome}`
    outcomes.set(name, (outcomes.get(name) ?? 0) + 1)
  } catch (error) {
    failures++
    console.log(`FAILED ${(error as Error).message}`)
    if (count === 1) console.log(((error as Error).cause as Error).stack)
  }
}
const { user, system } = process.cpuUsage(begin)
for (const [name, times] of [...outcomes].sort()) console.log(`${String(times).padStart(6)} ${name}`)
console.log(`${count} seeds from ${first}: ${requests} requests of guests; ${failures} failures`)
console.log(`${(count / ((user + system) / 1e6)).toFixed(0)} seeds a second of processor time`)
process.exitCode = failures > 0 ? 1 : 0
