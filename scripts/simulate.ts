/**
 * `npm run simulate -- --seed N --count M`: simulates seeds N, N + 1 … in virtual time. `--trace N` shows the last N
 * lines of a failing one. The exit code is 1 when a seed fails; the seed alone repeats it.
 */
import { parseArgs } from 'node:util'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { quorum } from '@diskgraph/driver-quorum'
import { raw } from '@diskgraph/driver-raw'
import { simulate } from '@diskgraph/driver-testkit'

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    count: { type: 'string', default: '100' },
    trace: { type: 'string', default: '0' },
  },
})
const [first, count, keep] = [Number(values.seed), Number(values.count), Number(values.trace)]
// Loaded now, so that even the first seed runs as it will run again.
await qcow2.measure?.({
  size: 0,
  options: { clusterSize: 65536, refcountBits: 16, compat: 'v3', preallocation: 'off' },
})
const failures: string[] = []
process.on('unhandledRejection', (error) => failures.push(`unhandled rejection: ${(error as Error).stack}`))

const begin = process.cpuUsage()
let requests = 0
let operations = 0
let succeeded = 0
for (let seed = first; seed < first + count; seed++) {
  try {
    const report = await simulate({ seed, drivers: [raw, qcow2, quorum], keep })
    requests += report.requests
    operations += report.operations
    succeeded += report.succeeded
    if (count === 1) console.log(`hash ${report.hash}, ${report.virtualMs.toFixed(0)} virtual ms, ${report.stack}`)
  } catch (error) {
    failures.push((error as Error).message)
    console.log(`FAILED ${(error as Error).stack}`)
    if ((error as Error).cause instanceof Error) console.log(((error as Error).cause as Error).stack)
    if (failures.length >= 10) break
  }
}
const { user, system } = process.cpuUsage(begin)
const seconds = (user + system) / 1e6
console.log(`${count} seeds from ${first}: ${requests} requests, ${succeeded} of ${operations} operations succeeded`)
console.log(`${(count / seconds).toFixed(0)} seeds a second of processor time; ${failures.length} failures`)
for (const failure of failures) console.log(failure.split('\n', 1)[0])
process.exitCode = failures.length > 0 ? 1 : 0
