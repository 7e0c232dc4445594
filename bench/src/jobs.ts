/** Block jobs beside each other: dg-storage-daemon and qemu-storage-daemon, each driven over QMP to the end of a copy. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Images } from './data.ts'
import { type Command, median, processorTime } from './measure.ts'

/** What one daemon needed for a job. */
interface Cost {
  readonly seconds: number
  /** Processor time, in seconds. */
  readonly processor: number
}

/** A row of the table; ratios are ours / theirs. */
interface JobRow {
  readonly name: string
  readonly ours: Cost
  readonly theirs: Cost
  readonly ratio: number
  readonly processorRatio: number
  readonly goal: number
}

/** A job: what is made before each run, the nodes, and the command that starts it. It ends with an event. */
interface Load {
  readonly name: string
  readonly make: readonly (readonly string[])[]
  readonly nodes: readonly object[]
  readonly start: { readonly execute: string; readonly arguments: object }
}

/** Whether the daemon to compare with is here. */
export function hasPeer(): boolean {
  try {
    execFileSync('qemu-storage-daemon', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** Measures mirrors and commits of `images`, the daemons by turns; medians of `runs`. `dg` is our daemon. */
export async function measureJobs(dg: Command, images: Images, folder: string, runs: number): Promise<JobRow[]> {
  const rows: JobRow[] = []
  for (const load of loads(images, folder)) {
    const [ours, theirs]: [Cost[], Cost[]] = [[], []]
    for (let run = 0; run < runs; run++) {
      ours.push(await measure(dg, load))
      theirs.push(await measure(['qemu-storage-daemon'], load))
    }
    const [own, other] = [summarise(ours), summarise(theirs)]
    const ratio = median(ours.map(({ seconds }, i) => seconds / (theirs[i] as Cost).seconds))
    const processorRatio = own.processor / other.processor
    rows.push({ name: load.name, ours: own, theirs: other, ratio, processorRatio, goal: 1 })
  }
  return rows
}

function summarise(costs: readonly Cost[]): Cost {
  const of = (pick: (cost: Cost) => number): number => median(costs.map(pick))
  return { seconds: of(({ seconds }) => seconds), processor: of(({ processor }) => processor) }
}

function loads(images: Images, folder: string): Load[] {
  const size = execFileSync('qemu-img', ['info', '--output=json', images.raw], { encoding: 'utf8' })
  const bytes = String((JSON.parse(size) as { 'virtual-size': number })['virtual-size'])
  const target = join(folder, 'job-target')
  const overlay = join(folder, 'job-overlay')
  const node = (driver: string, name: string, filename: string, more: object = {}): object => ({
    driver,
    'node-name': name,
    file: { driver: 'file', filename },
    ...more,
  })
  const create = (format: string, ...words: string[]): string[] => ['create', '-q', '-f', format, ...words]
  const mirror = (from: 'raw' | 'qcow2', to: string): Load => ({
    name: `mirror ${from} → ${to}`,
    make: [create(to, target, bytes)],
    nodes: [node(from, 'source', images[from]), node(to, 'target', target)],
    start: {
      execute: 'blockdev-mirror',
      arguments: { 'job-id': 'job', device: 'source', target: 'target', sync: 'full' },
    },
  })
  const commit = (to: string): Load => ({
    name: `commit qcow2 → ${to}`,
    make: [
      create(to, target, bytes),
      create('qcow2', '-b', target, '-F', to, overlay),
      ['convert', '-n', '-f', 'raw', '-O', 'qcow2', images.raw, overlay],
    ],
    nodes: [node(to, 'base', target, { 'read-only': true }), node('qcow2', 'top', overlay, { backing: 'base' })],
    start: { execute: 'block-commit', arguments: { 'job-id': 'job', device: 'top' } },
  })
  return [mirror('raw', 'qcow2'), mirror('qcow2', 'raw'), commit('raw'), commit('qcow2')]
}

async function measure([program, ...words]: Command, { make, nodes, start }: Load): Promise<Cost> {
  for (const arguments_ of make) execFileSync('qemu-img', arguments_)
  const monitor = ['--chardev', 'stdio,id=m', '--monitor', 'm']
  const child = spawn(program as string, [...words, ...monitor], { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(child, 'close')
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const until = async (isIt: (message: Message) => boolean): Promise<void> => {
    for (;;) {
      const { value, done } = await lines.next()
      if (done) throw new Error(`${program} has ended before its job`)
      const message = JSON.parse(value) as Message
      if (message.error !== undefined) throw new Error(`${program}: ${message.error.desc}`)
      if (isIt(message)) return
    }
  }
  const send = (command: object): void => void child.stdin.write(`${JSON.stringify(command)}\n`)
  const call = async (command: object): Promise<void> => {
    send(command)
    await until((message) => message.return !== undefined)
  }
  await call({ execute: 'qmp_capabilities' })
  for (const node of nodes) await call({ execute: 'blockdev-add', arguments: node })
  const before = processorTime(child.pid as number)
  const begin = performance.now()
  send(start)
  await until(({ event }) => event === 'BLOCK_JOB_READY')
  const seconds = (performance.now() - begin) / 1000
  const processor = processorTime(child.pid as number) - before
  send({ execute: 'quit' })
  await ended
  return { seconds, processor }
}

interface Message {
  readonly event?: string
  readonly return?: unknown
  readonly error?: { readonly desc: string }
}
