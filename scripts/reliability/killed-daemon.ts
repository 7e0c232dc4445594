/**
 * The bar of killed daemons: dg-storage-daemon serves an image over NBD to a guest that writes, with a job beside it, and
 * is killed in the middle (SIGKILL). What it had answered a flush for is there again, as this project reads it and as
 * qemu-img does; the image is not corrupt; the next daemon serves within a second.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readSync } from 'node:fs'
import { rename } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Random, runTool, TempFolder } from '@diskgraph/driver-testkit'
import { connectSocket, NbdClient } from '@diskgraph/nbd'
import { QmpClient } from '@diskgraph/qmp/client'
import type { Bar, Run } from './bars.ts'
import { VersionedDisk } from './versioned-disk.ts'

const program = fileURLToPath(new URL('../../apps/storage-daemon/dist/daemon.js', import.meta.url))
const image = fileURLToPath(new URL('../../apps/cli/bin/dg-img.js', import.meta.url))
const size = 32 * 2 ** 20
const piece = 2 ** 20
/** Milliseconds until a daemon that was started again must have answered a read. */
const servingLimit = 1000

/** The formats, with what `qemu-img check` knows of them; qcow2 stands over a base, and has the jobs that want one. */
const formats = ['qcow2', 'raw', 'vdi', 'parallels', 'vpc'] as const
const checkable: readonly string[] = ['qcow2', 'vdi', 'parallels']

type Job = 'none' | 'mirror' | 'backup' | 'stream' | 'commit'

/** `rounds` kills, two of three of them of qcow2, the others of the other formats. */
export async function killBar({ seed, peers }: Run, rounds: number): Promise<Bar> {
  const details: string[] = []
  const total = { rounds: 0, writes: 0, flushes: 0, judged: 0, wrong: 0 }
  const jobs = new Map<string, number>()
  const delays: number[] = []
  for (const [i, format] of formats.entries()) {
    const share = format === 'qcow2' ? rounds - Math.floor(rounds / 12) * 4 : Math.floor(rounds / 12)
    await using folder = await TempFolder.make()
    const trial = new Trial(format, folder, new Random(seed + i))
    await trial.create()
    for (let round = 0; round < share; round++) {
      const { wrong, delay, job, judged } = await trial.round(peers && round % 10 === 9)
      total.rounds++
      if (delay !== undefined) delays.push(delay)
      jobs.set(job, (jobs.get(job) ?? 0) + 1)
      if (judged) total.judged++
      if (wrong === undefined) continue
      total.wrong++
      details.push(`${format}, round ${round}, with ${job}: ${wrong}`)
      break // What follows would only tell it again.
    }
    total.writes += trial.disk.writes
    total.flushes += trial.disk.flushes
  }
  delays.sort((a, b) => a - b)
  const slowest = delays.at(-1) ?? 0
  const late = delays.filter((delay) => delay > servingLimit).length
  const beside = [...jobs].map(([job, count]) => `${count} with ${job}`).join(', ')
  return {
    passed: total.wrong === 0 && total.rounds === rounds && late === 0,
    figures: `${total.rounds} kills (${beside}), ${total.writes} writes, ${total.flushes} flushes, ${total.wrong} images with lost blocks or damage (${total.judged} judged by qemu-img too); serving again after ${(delays[delays.length >> 1] ?? 0).toFixed(0)} ms, ${slowest.toFixed(0)} at most, ${late} later than ${servingLimit}`,
    details,
  }
}

interface Outcome {
  readonly wrong: string | undefined
  /** Milliseconds from the start to the first answer. */
  readonly delay: number | undefined
  readonly job: Job
  readonly judged: boolean
}

/** One image and its kills. */
class Trial {
  readonly disk = new VersionedDisk(size)
  readonly #format: string
  readonly #folder: TempFolder
  readonly #random: Random
  #bases = 0

  constructor(format: string, folder: TempFolder, random: Random) {
    this.#format = format
    this.#folder = folder
    this.#random = random
  }

  async create(): Promise<void> {
    const subformat = this.#format === 'vpc' ? ['-o', 'force_size=on'] : []
    await create('-f', this.#format, ...subformat, this.#path, String(size))
  }

  /** Puts a new overlay over a qcow2 image that has no backing file: at first, and when a stream has ended. */
  async #layOver(): Promise<void> {
    const { stdout } = await runTool(process.execPath, [image, 'info', '-U', '--output=json', this.#path])
    if ('backing-filename' in JSON.parse(stdout)) return
    const base = this.#folder.file(`base${++this.#bases}`)
    await rename(this.#path, base)
    await create('-f', 'qcow2', '-b', base, '-F', 'qcow2', this.#path)
  }

  get #path(): string {
    return this.#folder.file('disk')
  }

  /** Starts a daemon, verifies all, loads it, kills it; then `judge` has qemu-img look. */
  async round(judge: boolean): Promise<Outcome> {
    const job = this.#random.pick<Job>(
      this.#format === 'qcow2' ? ['none', 'mirror', 'backup', 'stream', 'commit'] : ['none', 'mirror'],
    )
    if (this.#format === 'qcow2') await this.#layOver()
    const start = performance.now()
    const daemon = this.#daemon()
    const outcome = { job, judged: false, delay: undefined }
    try {
      await using client = await connected(daemon.child, () => this.#client())
      await client.read(0, new Uint8Array(4096))
      const delay = performance.now() - start
      const wrong = await this.#verify(client)
      if (wrong !== undefined) return { ...outcome, wrong, delay }
      const load = this.disk.load(client, this.#random, 8)
      await sleep(20 + this.#random.below(80))
      if (job !== 'none') await this.#start(job)
      await sleep(this.#random.below(250))
      daemon.child.kill('SIGKILL')
      await once(daemon.child, 'close')
      await client.close()
      await load
      return { ...outcome, delay, judged: judge, wrong: judge ? await this.#judge() : undefined }
    } catch (error) {
      return { ...outcome, wrong: `${(error as Error).message}\n${daemon.output()}` }
    } finally {
      daemon.child.kill('SIGKILL')
    }
  }

  #daemon(): { child: ChildProcess; output: () => string } {
    const node = {
      'node-name': 'disk',
      driver: this.#format,
      discard: 'unmap',
      file: { driver: 'file', filename: this.#path },
    }
    const child = spawn(process.execPath, [
      program,
      ...['--allow-references', '--blockdev', JSON.stringify(node)],
      ...['--nbd-server', `addr.type=unix,addr.path=${this.#folder.file('nbd')}`],
      ...['--export', 'nbd,id=disk,node-name=disk,writable=on'],
      ...['--chardev', `socket,id=m,path=${this.#folder.file('qmp')},server=on,wait=off`, '--monitor', 'm'],
    ])
    let text = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk) => {
        text += chunk
      })
    }
    return { child, output: () => text }
  }

  #client(): Promise<NbdClient> {
    return NbdClient.connect({ exportName: 'disk', connect: () => connectSocket({ path: this.#folder.file('nbd') }) })
  }

  /** Starts a job that is under way when the kill comes, or has just ended. */
  async #start(job: Job): Promise<void> {
    const qmp = await QmpClient.connect({ connect: { path: this.#folder.file('qmp') } })
    try {
      const device = { device: 'disk', 'job-id': 'job' }
      if (job === 'mirror' || job === 'backup') {
        const filename = this.#folder.file('copy')
        await create('-f', 'raw', filename, String(size))
        await qmp.execute('blockdev-add', { driver: 'file', 'node-name': 'copy', filename })
      }
      if (job === 'mirror') await qmp.execute('blockdev-mirror', { ...device, target: 'copy', sync: 'full' })
      if (job === 'backup') await qmp.execute('blockdev-backup', { ...device, target: 'copy', sync: 'full' })
      if (job === 'stream') await qmp.execute('block-stream', device)
      if (job === 'commit') await qmp.execute('block-commit', device)
    } finally {
      qmp.close()
    }
  }

  async #verify(client: NbdClient): Promise<string | undefined> {
    const buf = new Uint8Array(piece)
    for (let offset = 0; offset < size; offset += piece) {
      await client.read(offset, buf)
      const wrong = this.disk.verify(buf, offset)
      if (wrong !== undefined) return wrong
    }
    return undefined
  }

  /** What qemu-img says of the image, and what it reads. */
  async #judge(): Promise<string | undefined> {
    if (checkable.includes(this.#format)) {
      const { status, stdout, stderr } = await runTool('qemu-img', ['check', '-f', this.#format, this.#path])
      if (status !== 0 && status !== 3) return `qemu-img check: status ${status}: ${stdout}${stderr}`.slice(0, 500)
    }
    const raw = this.#folder.file('raw')
    const source =
      this.#format === 'vpc'
        ? `driver=vpc,force_size_calc=current_size,file.filename=${this.#path}`
        : `driver=${this.#format},file.filename=${this.#path}`
    const { status, stderr } = await runTool('qemu-img', ['convert', '--image-opts', source, '-O', 'raw', raw])
    if (status !== 0) return `qemu-img convert: ${stderr}`
    const fd = openSync(raw, 'r')
    try {
      const buf = new Uint8Array(piece)
      for (let offset = 0; offset < size; offset += piece) {
        readSync(fd, buf, 0, piece, offset)
        const wrong = this.disk.verify(buf, offset)
        if (wrong !== undefined) return `as qemu-img reads it: ${wrong}`
      }
    } finally {
      closeSync(fd)
    }
    return undefined
  }
}

async function create(...args: string[]): Promise<void> {
  const { status, stderr } = await runTool(process.execPath, [image, 'create', '-q', ...args])
  if (status !== 0) throw new Error(`dg-img create ${args.join(' ')}: ${stderr}`)
}

/** Tries until a daemon that is starting answers. */
async function connected(child: ChildProcess, connect: () => Promise<NbdClient>): Promise<NbdClient> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await connect()
    } catch (error) {
      if (attempt === 2000 || child.exitCode !== null) throw error
      await sleep(10)
    }
  }
}
