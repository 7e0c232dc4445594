/** NBD servers beside each other: dg-nbd, qemu-nbd and nbdkit, with fio as the client of each in turn. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { type Command, median } from './measure.ts'

/** What one server did. */
interface Speed {
  /** Requests per second. */
  readonly rate: number
  /** Processor time of the server for a request, in microseconds. */
  readonly processor: number
}

/** A kind of load. `goal`: how many times the requests per second of qemu-nbd. */
interface Load {
  readonly name: string
  readonly fio: readonly string[]
  readonly goal: number
  /** The image is not in the page cache. */
  readonly cold?: boolean
}

const kib = 1024
const loads: readonly Load[] = [
  load('4 KiB random reads, 16 at a time', 'randread', 4 * kib, 16, 60_000, 3.5),
  load('4 KiB random reads, 1 at a time', 'randread', 4 * kib, 1, 20_000, 1.3),
  load('4 KiB random writes, 16 at a time', 'randwrite', 4 * kib, 16, 60_000, 3),
  load('64 KiB random reads, 16 at a time', 'randread', 64 * kib, 16, 10_000, 1.3),
  load('1 MiB random reads, 4 at a time', 'randread', 1024 * kib, 4, 1500, 1.1),
  { ...load('1 MiB reads of a cold file', 'read', 1024 * kib, 4, 400, 1.2), cold: true },
]
/** How many times the requests per second of nbdkit, for raw images. */
const nbdkitGoal = 1.1

/** A row of the table. */
interface NbdRow {
  readonly name: string
  readonly ours: Speed
  readonly theirs: Speed
  readonly ratio: number
  readonly goal: number
}

/** Whether the client is here. */
export function hasFio(): boolean {
  try {
    return execFileSync('fio', ['--enghelp'], { encoding: 'utf8' }).includes('nbd')
  } catch {
    return false
  }
}

/** Measures all loads over an image `runs` times, the servers by turns; medians. `dg` is our program. */
export async function measureNbd(
  dg: Command,
  format: 'raw' | 'qcow2',
  image: string,
  folder: string,
  runs: number,
): Promise<NbdRow[]> {
  const socket = join(folder, 'socket')
  const qemu = ['-t', '-e', '16', '-f', format, '-k', socket, image]
  const servers: Record<string, Command> = { ours: [...dg, ...qemu], qemu: ['qemu-nbd', ...qemu] }
  if (format === 'raw' && isThere('nbdkit')) servers.nbdkit = ['nbdkit', '-f', '-U', socket, 'file', image]
  const speeds = new Map<string, Speed[]>()
  for (let run = 0; run < runs; run++) {
    for (const [name, command] of Object.entries(servers)) {
      const server = await start(command, socket)
      try {
        for (const one of loads) {
          const key = `${name} ${one.name}`
          speeds.set(key, [...(speeds.get(key) ?? []), measure(one, server.pid as number, socket, image)])
        }
      } finally {
        await stop(server)
        rmSync(socket, { force: true })
      }
    }
  }
  const speed = (name: string, one: Load): Speed => summarise(speeds.get(`${name} ${one.name}`) as Speed[])
  const row = (one: Load, other: string, goal: number): NbdRow => {
    const [ours, theirs] = [speed('ours', one), speed(other, one)]
    const suffix = other === 'nbdkit' ? ' (nbdkit)' : ''
    return { name: `${format}: ${one.name}${suffix}`, ours, theirs, ratio: ours.rate / theirs.rate, goal }
  }
  const rows = loads.map((one) => row(one, 'qemu', one.goal))
  const [first] = loads
  return servers.nbdkit === undefined || first === undefined ? rows : [...rows, row(first, 'nbdkit', nbdkitGoal)]
}

function load(name: string, kind: string, block: number, depth: number, requests: number, goal: number): Load {
  const fio = [`--rw=${kind}`, `--bs=${block}`, `--iodepth=${depth}`, `--io_size=${requests * block}`]
  return { name, fio, goal }
}

function measure({ fio, cold }: Load, pid: number, socket: string, image: string): Speed {
  if (cold) execFileSync('dd', [`if=${image}`, 'of=/dev/null', 'iflag=nocache', 'count=0'], { stdio: 'ignore' })
  const before = processorTime(pid)
  const words = ['--name=nbd', '--ioengine=nbd', `--uri=nbd+unix:///?socket=${socket}`, ...fio]
  const text = execFileSync('fio', [...words, '--norandommap', '--output-format=json'], { encoding: 'utf8' })
  const [job] = (JSON.parse(text.slice(text.indexOf('{'))) as { jobs: FioJob[] }).jobs
  if (job === undefined) throw new Error('fio did not tell of its job')
  const done = job.read.total_ios > 0 ? job.read : job.write
  return { rate: done.iops, processor: ((processorTime(pid) - before) / done.total_ios) * 1e6 }
}

interface FioJob {
  readonly read: { readonly iops: number; readonly total_ios: number }
  readonly write: { readonly iops: number; readonly total_ios: number }
}

/** Seconds of processor time of a process so far. */
function processorTime(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / 100
}

function summarise(speeds: readonly Speed[]): Speed {
  return { rate: median(speeds.map(({ rate }) => rate)), processor: median(speeds.map((one) => one.processor)) }
}

function isThere(tool: string): boolean {
  try {
    execFileSync(tool, ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

async function start([program, ...words]: Command, socket: string): Promise<ChildProcess> {
  const child = spawn(program as string, words, { stdio: ['ignore', 'ignore', 'inherit'] })
  while (!existsSync(socket)) {
    if (child.exitCode !== null) throw new Error(`${program} ended with ${child.exitCode}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return child
}

async function stop(child: ChildProcess): Promise<void> {
  const ended = once(child, 'close')
  child.kill('SIGTERM')
  await ended
}
