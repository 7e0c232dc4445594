/**
 * `npm run bench`: our tools beside the real ones, in one run on one machine. Prints a table of ratios (ours / theirs,
 * below 1 is faster) and writes them as JSON.
 *
 *     npm run bench -- [--size MiB] [--runs N] [--only text] [--json file]      --only nbd, http, jobs: these alone
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type Images, makeImages } from './data.ts'
import { httpRows } from './http.ts'
import { hasPeer, measureJobs } from './jobs.ts'
import { compare, median, run } from './measure.ts'
import { hasFio, measureNbd } from './nbd.ts'
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

/** What `--only` may name beside the rows. */
const others = ['nbd', 'qmp', 'jobs']

const program = (name: string, app = 'cli'): string[] => [
  process.execPath,
  fileURLToPath(new URL(`../../apps/${app}/bin/${name}.js`, import.meta.url)),
]
const img = program('dg-img')
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
  const served = await httpRows(img, images, folder)
  if (served === undefined) process.stdout.write('http: not measured, nginx is not installed\n')
  try {
    await measureAll(images, served?.rows ?? [])
  } finally {
    await served?.end()
  }
}

async function measureAll(images: Images, http: readonly Row[]): Promise<void> {
  const all = [...rows(img, images, join(folder, 'out')), ...http]
  const chosen = all.filter(({ name }) => name.includes(values.only))
  if (chosen.length === 0 && !others.includes(values.only)) {
    const names = [...all.map(({ name }) => `'${name}'`), ...others].join(', ')
    throw new Error(`--only ${values.only}: nothing is called so; there are ${names}`)
  }
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
  for (const row of chosen) results.push(await measureRow(row, bare))
  const misses = results.filter(({ ratio, goal }) => ratio > goal)
  process.stdout.write(`${results.length - misses.length} of ${results.length} rows reach their goal\n`)
  const nbd = ['', 'nbd'].includes(values.only) ? await nbdRows(images) : []
  const qmp = ['', 'qmp'].includes(values.only) ? await qmpRows() : []
  const jobs = ['', 'jobs'].includes(values.only) ? await jobRows(images) : []
  if (values.json === undefined) return
  const start = { bare, version, info }
  writeFileSync(values.json, `${JSON.stringify({ start, results, nbd, qmp, jobs }, null, 2)}\n`)
}

/** Servers of NBD: requests per second, and microseconds of processor time for each. Above 1 is faster. */
async function nbdRows(images: Images) {
  if (!hasFio()) {
    process.stdout.write('nbd: not measured, fio with its nbd engine is not installed\n')
    return []
  }
  line('nbd', 'ours /s', 'theirs /s', 'ratio', 'goal', 'µs: ours', 'theirs')
  const nbd = [
    ...(await measureNbd(program('dg-nbd'), 'raw', images.raw, folder, runs)),
    ...(await measureNbd(program('dg-nbd'), 'qcow2', images.qcow2, folder, runs)),
  ]
  for (const { name, ours, theirs, ratio, goal } of nbd) {
    const rates = [ours.rate, theirs.rate].map((rate) => String(Math.round(rate)))
    const costs = [ours.processor, theirs.processor].map((time) => time.toFixed(1))
    line(name, ...rates, ratio.toFixed(2), goal.toFixed(2), ...costs)
  }
  const reached = nbd.filter(({ ratio, goal }) => ratio >= goal).length
  process.stdout.write(`${reached} of ${nbd.length} rows of NBD reach their goal\n`)
  return nbd
}

/** Questions to the daemons: microseconds per answer, on the clock and of the processor. */
async function qmpRows() {
  line('qmp', 'ours µs', 'theirs µs', 'ratio', 'goal', 'cpu: ours', 'theirs')
  const trips = await measureQmp(folder)
  for (const { command, ours, theirs } of trips) {
    const walls = [ours.wall, theirs.wall].map((time) => time.toFixed(0))
    const processor = [ours.cpu, theirs.cpu].map((time) => time.toFixed(0))
    line(command, ...walls, (ours.wall / theirs.wall).toFixed(2), '1.00', ...processor)
  }
  return trips
}

/** Live jobs: seconds, and seconds of processor time. Below 1 is faster. */
async function jobRows(images: Images) {
  if (!hasPeer()) {
    process.stdout.write('jobs: not measured, qemu-storage-daemon is not installed\n')
    return []
  }
  line('jobs', 'ours', 'theirs', 'ratio', 'goal', 'cpu: ours', 'theirs', 'ratio')
  const jobs = await measureJobs(program('dg-storage-daemon', 'storage-daemon'), images, folder, runs)
  for (const { name, ours, theirs, ratio, goal, processorRatio } of jobs) {
    const times = [ms(ours.seconds), ms(theirs.seconds), ratio.toFixed(2), goal.toFixed(2)]
    line(name, ...times, ms(ours.processor), ms(theirs.processor), processorRatio.toFixed(2))
  }
  const reached = jobs.filter(({ ratio, goal }) => ratio <= goal).length
  process.stdout.write(`${reached} of ${jobs.length} rows of jobs reach their goal\n`)
  return jobs
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
  process.stdout.write(`${name.padEnd(46)}${cells.map((cell) => cell.padStart(10)).join('')}\n`)
}
