/**
 * `npm run bench`: our tools beside the real ones, in one run on one machine. Prints a table of ratios (ours / theirs,
 * below 1 is faster) and writes them as JSON.
 *
 *     npm run bench -- [--size MiB] [--runs N] [--only text] [--json file]
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { makeImages } from './data.ts'
import { compare, median, run } from './measure.ts'
import { measureQmp } from './qmp.ts'
import { type Row, rows } from './rows.ts'

const { values } = parseArgs({
  options: {
    size: { type: 'string', default: '512' },
    runs: { type: 'string', default: '5' },
    only: { type: 'string', default: '' },
    json: { type: 'string' },
  },
})

const img = [process.execPath, fileURLToPath(new URL('../../apps/cli/bin/dg-img.js', import.meta.url))]
const runs = Number(values.runs)
const folder = mkdtempSync(join(tmpdir(), 'diskgraph-bench-'))
try {
  await main()
} finally {
  rmSync(folder, { recursive: true, force: true })
}

async function main(): Promise<void> {
  process.stderr.write(`making images of ${values.size} MiB …\n`)
  const images = makeImages(folder, Number(values.size) * 2 ** 20)
  const bare = await startTime([process.execPath, '-e', '0'])
  const version = await startTime([...img, '--version'])
  const info = await startTime([...img, 'info', images.qcow2])
  line('start', 'ours', 'node -e 0', 'ratio', 'goal', 'peak')
  for (const [name, seconds] of [
    ['dg-img --version', version],
    ['dg-img info', info],
  ] as const) {
    line(name, ms(seconds), ms(bare), (seconds / bare).toFixed(2), '2.00', '')
  }
  line('', 'ours', 'qemu-img', 'ratio', 'goal', 'peak')
  const results = []
  for (const row of rows(img, images, join(folder, 'out'))) {
    if (row.name.includes(values.only)) results.push(await measureRow(row, bare))
  }
  await tellRoundTrips()
  const misses = results.filter(({ ratio, goal }) => ratio > goal)
  process.stdout.write(`${results.length - misses.length} of ${results.length} rows reach their goal\n`)
  if (values.json === undefined) return
  const start = { bare, version, info }
  writeFileSync(values.json, `${JSON.stringify({ start, results }, null, 2)}\n`)
}

/** Microseconds per question, on the clock and of the processor. */
async function tellRoundTrips(): Promise<void> {
  const trips = await measureQmp(folder)
  line('', 'ours', 'daemon', 'ratio', 'goal', 'cpu')
  for (const { command, ours, theirs } of trips) {
    if (!`qmp ${command}`.includes(values.only)) continue
    const [one, other] = [ours, theirs].map(({ wall }) => `${wall.toFixed(0)} µs`) as [string, string]
    const cpu = `${ours.cpu.toFixed(0)} / ${theirs.cpu.toFixed(0)} µs`
    line(`qmp ${command}`, one, other, (ours.wall / theirs.wall).toFixed(2), '1.00', cpu)
  }
}

async function startTime(command: readonly string[]): Promise<number> {
  const seconds: number[] = []
  for (let i = 0; i < 15; i++) seconds.push((await run(command)).seconds)
  return median(seconds)
}

async function measureRow(row: Row, bare: number) {
  const { ours, theirs, ratio } = await compare(row.ours, row.theirs, {
    runs,
    before: row.before,
    okCodes: row.okCodes,
  })
  const judged = row.net ? Math.max(0, ours.seconds - bare) / theirs.seconds : ratio
  const mark = judged <= row.goal ? '' : '  ← misses'
  line(
    row.net ? `${row.name} *` : row.name,
    ms(ours.seconds),
    ms(theirs.seconds),
    judged.toFixed(2),
    row.goal.toFixed(2),
    `${Math.round(ours.peakMemory / 2 ** 20)} MiB${mark}`,
  )
  return { name: row.name, ratio: judged, goal: row.goal, net: row.net === true, ours, theirs }
}

function ms(seconds: number): string {
  return `${Math.round(seconds * 1000)} ms`
}

function line(name: string, ...cells: string[]): void {
  process.stdout.write(`${name.padEnd(34)}${cells.map((cell) => cell.padStart(10)).join('')}\n`)
}
