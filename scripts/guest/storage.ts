/** The daemon under test: it exports `disk`, and jobs and snapshots change what stands below that while it is used. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { runTool, type TempFolder } from '@diskgraph/driver-testkit'
import type { ArgumentsOf } from '@diskgraph/qapi'
import { QmpClient } from '@diskgraph/qmp/client'
import { timeLimit } from './machine.ts'

const program = fileURLToPath(new URL('../../apps/storage-daemon/dist/daemon.js', import.meta.url))
const imageTool = fileURLToPath(new URL('../../apps/cli/bin/dg-img.js', import.meta.url))

/** Where the guest's partition begins, in bytes. */
const partition = 2 ** 20
const job = { device: 'job' }
/** A job that is not over before the guest has written beside it. */
const slowJob = { 'job-id': 'job', speed: 2 ** 18 }

/** What happens while a job runs. */
export type Meanwhile = () => Promise<unknown>

/** A daemon with one image, `<node>.qcow2` of its folder. Dispose of it. */
export class Storage {
  /** The node that the guest uses. */
  active: string
  readonly #folder: TempFolder
  readonly #size: number
  readonly #child: ChildProcess
  readonly #qmp: QmpClient
  #names = 0

  private constructor(folder: TempFolder, size: number, active: string, child: ChildProcess, qmp: QmpClient) {
    this.#folder = folder
    this.#size = size
    this.active = active
    this.#child = child
    this.#qmp = qmp
  }

  static async start(folder: TempFolder, size: number, node: string): Promise<Storage> {
    if (!existsSync(imagePath(folder, node))) await createImage(folder, node, size)
    for (const socket of ['nbd', 'qmp']) await rm(folder.file(socket), { force: true })
    const child = spawn(
      process.execPath,
      [
        ...[program, '--allow-references', '--blockdev', JSON.stringify(imageNode(folder, node))],
        ...['--nbd-server', `addr.type=unix,addr.path=${folder.file('nbd')}`],
        ...['--export', `nbd,id=guest,name=disk,node-name=${node},writable=on`],
        ...['--chardev', `socket,id=m,path=${folder.file('qmp')},server=on,wait=off`, '--monitor', 'm'],
      ],
      { stdio: ['ignore', 'inherit', 'inherit'], timeout: timeLimit, killSignal: 'SIGKILL' },
    )
    try {
      return new Storage(folder, size, node, child, await connected(child, folder.file('qmp')))
    } catch (error) {
      child.kill('SIGKILL')
      throw error
    }
  }

  get socket(): string {
    return this.#folder.file('nbd')
  }

  /** Starts a mirror to a new image; resolves with its node when `meanwhile` is over and the mirror has caught up. */
  async mirror(meanwhile: Meanwhile, settings: { readonly 'copy-mode'?: 'write-blocking' } = {}): Promise<string> {
    const target = await this.#addImage('mirror')
    const args = { ...slowJob, device: this.active, target, sync: 'full' as const, ...settings }
    await this.#reached('BLOCK_JOB_READY', () => this.#qmp.execute('blockdev-mirror', args), meanwhile)
    return target
  }

  /** Lets the guest go on with the mirror's target alone. */
  async pivotTo(target: string): Promise<void> {
    await this.#reached('BLOCK_JOB_COMPLETED', () => this.#qmp.execute('block-job-complete', job))
    const former = this.active
    this.active = target
    await this.#qmp.execute('blockdev-del', { 'node-name': former })
    await rm(this.path(former))
  }

  /** Ends the mirror, which leaves its target as the disk is now. */
  async leave(target: string): Promise<void> {
    await this.#reached('BLOCK_JOB_COMPLETED', () => this.#qmp.execute('block-job-cancel', job))
    await this.#qmp.execute('blockdev-del', { 'node-name': target })
  }

  /** Puts a new overlay over the disk. */
  async snapshot(): Promise<void> {
    const overlay = this.#name('overlay')
    await this.#qmp.execute('blockdev-snapshot-sync', this.#snapshotOf(overlay))
    this.active = overlay
  }

  /**
   * Takes a snapshot and begins a backup at the same moment. Once that is complete, it must equal what the snapshot has left
   * below, and e2fsck must find in it what a machine leaves that lost its power.
   */
  async snapshotAndBackup(meanwhile: Meanwhile): Promise<void> {
    const target = await this.#addImage('backup')
    const overlay = this.#name('overlay')
    const below = this.active
    const actions: ArgumentsOf<'transaction'>['actions'] = [
      { type: 'blockdev-snapshot-sync', data: this.#snapshotOf(overlay) },
      { type: 'blockdev-backup', data: { ...slowJob, device: overlay, target, sync: 'full' } },
    ]
    await this.#reached('BLOCK_JOB_COMPLETED', () => this.#qmp.execute('transaction', { actions }), meanwhile)
    this.active = overlay
    await this.#qmp.execute('blockdev-del', { 'node-name': target })
    await this.judge(target)
    await this.compare(target, below)
    await this.#recover(target)
    await rm(this.path(target))
  }

  /** Commits `top` into `base` below the disk that the guest uses. */
  async commitBelow(top: string, base: string, meanwhile: Meanwhile): Promise<void> {
    const args = { ...slowJob, device: this.active, 'top-node': top, 'base-node': base }
    await this.#reached('BLOCK_JOB_COMPLETED', () => this.#qmp.execute('block-commit', args), meanwhile)
    await rm(this.path(top))
  }

  /** Commits the disk itself into what it stands on; resolves when `meanwhile` is over and the job has caught up. */
  async commitActive(meanwhile: Meanwhile): Promise<void> {
    const args = { ...slowJob, device: this.active }
    await this.#reached('BLOCK_JOB_READY', () => this.#qmp.execute('block-commit', args), meanwhile)
  }

  /** Lets the guest go on with `base` alone. */
  async pivotDownTo(base: string): Promise<void> {
    await this.#reached('BLOCK_JOB_COMPLETED', () => this.#qmp.execute('block-job-complete', job))
    await rm(this.path(this.active))
    this.active = base
  }

  path(node: string): string {
    return imagePath(this.#folder, node)
  }

  /** Holds an image against `qemu-img check`. */
  async judge(node: string): Promise<void> {
    await tool('qemu-img', 'check', '-U', '-f', 'qcow2', this.path(node))
  }

  /** Compares two images by `qemu-img`. */
  async compare(one: string, other: string): Promise<void> {
    await tool('qemu-img', 'compare', '-U', '-f', 'qcow2', '-F', 'qcow2', this.path(one), this.path(other))
  }

  /** Ends the daemon as its user would. */
  async stop(): Promise<void> {
    this.#qmp.close()
    const closed = once(this.#child, 'close')
    this.#child.kill('SIGTERM')
    const [status] = await closed
    if (status !== 0) throw new Error(`dg-storage-daemon ended with status ${status}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#qmp.close()
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const closed = once(this.#child, 'close')
    this.#child.kill('SIGKILL')
    await closed
  }

  #name(what: string): string {
    return `${what}${++this.#names}`
  }

  #snapshotOf(overlay: string) {
    const snapshot = { 'snapshot-file': this.path(overlay), 'snapshot-node-name': overlay, format: 'qcow2' }
    return { 'node-name': this.active, ...snapshot }
  }

  async #addImage(what: string): Promise<string> {
    const node = this.#name(what)
    await createImage(this.#folder, node, this.#size)
    await this.#qmp.executeUnchecked('blockdev-add', imageNode(this.#folder, node))
    return node
  }

  /** Has e2fsck replay the journal of an image; it must find nothing that a person has to decide. */
  async #recover(node: string): Promise<void> {
    const raw = this.#folder.file('raw')
    const source = `driver=raw,offset=${partition},file.driver=qcow2,file.file.filename=${this.path(node)}`
    await tool('qemu-img', 'convert', '--image-opts', source, '-O', 'raw', raw)
    const { status, stdout, stderr } = await runTool('e2fsck', ['-p', raw])
    if (status > 1) throw new Error(`e2fsck of ${node}: status ${status}: ${stdout}${stderr}`)
    await rm(raw)
  }

  /**
   * Gives `command` and waits until the job tells `goal`. With `meanwhile` the command has started a slow job, which is let
   * loose when that is over: if the job has ended before, setting its speed fails.
   */
  async #reached(goal: string, command: () => Promise<unknown>, meanwhile?: Meanwhile): Promise<void> {
    const event = new Promise<void>((resolve, reject) => {
      const end = (): void => reject(new Error(`dg-storage-daemon has ended before ${goal}`))
      const ignore = this.#qmp.onEvent(({ event, data }) => {
        if (!event.startsWith('BLOCK_JOB_') || event === 'BLOCK_JOB_PENDING') return
        ignore()
        this.#child.off('close', end)
        if (event === goal && data.error === undefined) resolve()
        else reject(new Error(`${event} instead of ${goal}: ${JSON.stringify(data)}`))
      })
      this.#child.once('close', end)
    })
    event.catch(() => undefined) // Heard below, if the command succeeds.
    await command()
    if (meanwhile !== undefined) {
      await meanwhile()
      await this.#qmp.execute('block-job-set-speed', { ...job, speed: 0 })
    }
    await event
  }
}

function imagePath(folder: TempFolder, node: string): string {
  return folder.file(`${node}.qcow2`)
}

function imageNode(folder: TempFolder, node: string) {
  const file = { driver: 'file', filename: imagePath(folder, node), discard: 'unmap' }
  return { driver: 'qcow2', 'node-name': node, discard: 'unmap', file }
}

async function createImage(folder: TempFolder, node: string, size: number): Promise<void> {
  await tool(process.execPath, imageTool, 'create', '-q', '-f', 'qcow2', imagePath(folder, node), String(size))
}

async function tool(name: string, ...args: string[]): Promise<void> {
  const { status, stdout, stderr } = await runTool(name, args, 120_000)
  if (status !== 0) throw new Error(`${name} ${args.join(' ')}: status ${status}: ${stdout}${stderr}`.slice(0, 1000))
}

/** Tries until the monitor of a daemon that is starting answers. */
async function connected(child: ChildProcess, path: string): Promise<QmpClient> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await QmpClient.connect({ connect: { path } })
    } catch (error) {
      if (attempt === 1000 || child.exitCode !== null) throw error
      await sleep(10)
    }
  }
}
