/**
 * `npm run bench:path`: what the core costs per request. 4 KiB reads and writes of a null disk, through a handle and
 * through 0 to 4 filters that change nothing; the slope is the price of one node. Each figure is the least of several
 * rounds, in nanoseconds.
 */
import { type Disk, type DriverDescriptor, Graph } from '@diskgraph/core'
import { Passthrough } from '@diskgraph/core/driver'
import { nullCo } from '@diskgraph/driver-null'

const pass: DriverDescriptor = {
  name: 'pass',
  kind: 'filter',
  description: 'forwards everything',
  options: { file: { type: 'child', role: 'filtered', required: true, description: 'filtered node' } },
  open: async ({ children }) => new Passthrough(children.require('file')),
}

const requests = 400_000
const rounds = 7
const filters = 4

async function timed(disk: Disk, kind: 'read' | 'write'): Promise<number> {
  const buf = new Uint8Array(4096)
  let best = Number.POSITIVE_INFINITY
  for (let round = 0; round < rounds; round++) {
    const begin = performance.now()
    // Not awaited: a null disk has done it when the call returns, and an await would be measured with it.
    for (let i = 0; i < requests; i++) disk[kind](0, buf)
    best = Math.min(best, ((performance.now() - begin) * 1e6) / requests)
    await new Promise((resolve) => setImmediate(resolve))
  }
  return best
}

const graph = new Graph({ drivers: [nullCo, pass] })
for (const kind of ['write', 'read'] as const) {
  const times: number[] = []
  for (let depth = 0; depth <= filters; depth++) {
    let definition: Record<string, unknown> = { driver: 'null-co' }
    for (let i = 0; i < depth; i++) definition = { driver: 'pass', file: definition }
    const disk = await graph.addUnchecked(definition)
    times.push(await timed(disk, kind))
    await disk.close()
  }
  const [leaf = 0] = times
  const slope = ((times[filters] ?? 0) - leaf) / filters
  const shown = times.map((ns) => ns.toFixed(0)).join(' ')
  console.log(`${kind}: through a handle and 0 to ${filters} filters ${shown} ns; a node costs ${slope.toFixed(0)} ns`)
}
await graph.close()
