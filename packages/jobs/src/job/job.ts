/**
 * A job: work on the graph that goes on while its disks are in use, and that can be paused, slowed down, cancelled and
 * told to take effect.
 *
 *     created ─▶ running ◀─▶ paused          waiting ─▶ pending ─▶ concluded ─▶ null
 *                   │ │                       ▲ all of the transaction
 *                   │ └──▶ ready ◀─▶ standby ─┤
 *                   └─────────────────────────┘   a failure or a cancel anywhere: aborting ─▶ concluded
 *
 * The kind of a job is its {@link JobWork}. It calls {@link Job.rest} between two pieces: there it is held while the
 * job is paused or too fast, and left when the job is cancelled. Events have QAPI's names and fields.
 */
import { BlockError, type Clock, type Graph, type Node } from '@diskgraph/core'
import { describeErrorCode } from '@diskgraph/core/driver'
import { type Inspect, inspected, inspection } from '@diskgraph/core/internal'
import { codeOf, describeFailure } from '../engine/work.ts'
import type { JobKind } from './kind.ts'
import { Pace } from './pace.ts'
import { actionOf, checkSpeed, type ErrorPolicy, type JobSettings, type JobType } from './settings.ts'
import { type JobStatus, type JobVerb, refuseVerb } from './states.ts'
import { Cancelled, JobTransaction } from './transaction.ts'

/** What a kind of job does. */
export type JobWork = JobKind<Job>

/** Where a job stands: the table. */
interface JobHost {
  readonly graph: Graph
  remove(job: Job): void
  tell(job: Job): void
}

/** See the top of the file. */
export class Job {
  readonly id: string
  readonly type: JobType
  readonly autoFinalize: boolean
  readonly autoDismiss: boolean
  /** The nodes that it works on, and its filter. */
  readonly nodes = new Set<Node>()
  /** Resolves when it has concluded well; rejects with what it failed of, ECANCELED when it was cancelled. */
  readonly finished: Promise<void>
  /** @internal Aborted when the job is cancelled or fails: whatever it waits for ends. */
  readonly signal: AbortSignal
  /** @internal */
  readonly pace: Pace
  readonly #table: JobHost
  #work: JobWork | undefined
  readonly #transaction: JobTransaction
  readonly clock: Clock
  readonly #controller = new AbortController()
  #status: JobStatus = 'created'
  #announced = false
  #offset = 0
  #remaining = 0
  #ioStatus: 'ok' | 'failed' | 'nospace' = 'ok'
  #error: string | undefined
  #failure: Error | undefined
  #running: Promise<void> | undefined
  #settle: { resolve(): void; reject(error: Error): void } | undefined

  /** @internal Made by the functions that start one. */
  constructor(table: JobHost, id: string, type: JobType, settings: JobSettings) {
    this.#table = table
    this.id = id
    this.type = type
    this.autoFinalize = settings.autoFinalize ?? true
    this.autoDismiss = settings.autoDismiss ?? true
    this.clock = table.graph.clock
    this.#transaction = settings.transaction ?? new JobTransaction()
    this.signal = this.#controller.signal
    this.pace = new Pace(this.clock, settings.speed ?? 0, this.signal)
    this.finished = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
    })
    // Who wants to know asks; nobody has to.
    this.finished.catch(() => undefined)
  }

  get status(): JobStatus {
    return this.#status
  }

  /** Bytes done. */
  get offset(): number {
    return this.#offset
  }

  /** Bytes to do in all, as far as is known. */
  get length(): number {
    return this.#offset + this.#remaining
  }

  /** Bytes per second; 0: no limit. */
  get speed(): number {
    return this.pace.speed
  }

  get ready(): boolean {
    return this.#status === 'ready' || this.#status === 'standby'
  }

  get paused(): boolean {
    return this.pace.stopped
  }

  /** Whether it is at work right now, neither held nor waiting. */
  get busy(): boolean {
    return this.#running !== undefined && !this.done && !this.pace.asleep
  }

  /** How its last requests went. */
  get ioStatus(): 'ok' | 'failed' | 'nospace' {
    return this.#ioStatus
  }

  /** Why it failed, in QEMU's words; undefined for one that has not. */
  get error(): string | undefined {
    return this.#error
  }

  get done(): boolean {
    return this.#status === 'waiting' || this.#status === 'pending' || this.#status === 'concluded'
  }

  /** Whether a disk works for it: then it raises BLOCK_JOB_ events, too. */
  get isBlockJob(): boolean {
    return this.type !== 'create' && this.type !== 'amend'
  }

  /** What is worth knowing of it. */
  toJSON(): Readonly<Record<string, unknown>> {
    const { id, type, status, offset, length, speed, error } = this
    return { id, type, status, offset, length, speed, error }
  }

  [inspection](_depth: number, options: object, inspect: Inspect): string {
    return inspected('Job', this, options, inspect)
  }

  // What users ask of it: EBUSY in a state that has no such thing.
  /** Lets it rest before its next piece of work. */
  pause(): void {
    this.#refuse('pause')
    if (this.pace.paused) throw new BlockError('EBUSY', 'Job is already paused')
    this.pace.paused = true
  }

  /** Lets it go on, after {@link pause} or an error that has stopped it. */
  resume(): void {
    if (!this.pace.paused) throw new BlockError('EBUSY', "Can't resume a job that was not paused")
    this.#refuse('resume')
    this.#ioStatus = 'ok'
    this.pace.paused = false
  }

  /**
   * Ends it, and its transaction with it. Without `force` (default true) a mirror that is ready ends well: its target
   * holds one moment of the disk, and nobody goes over to it.
   */
  cancel(force = true): void {
    this.#refuse('cancel')
    if (!force && this.pace.paused) {
      throw new BlockError('EBUSY', `The block job for device '${this.id}' is currently paused`)
    }
    if (!force && this.ready && this.#work?.cancelSoftly?.(this) === true) this.pace.wake()
    else this.#stopWork()
    if (this.done) void this.#transaction.abort(this, new Cancelled())
  }

  /** Lets a job that is ready come to its end. */
  complete(): void {
    this.#refuse('complete')
    this.#work?.complete?.(this)
    this.pace.wake()
  }

  /** Lets what it and its transaction have done take effect. Resolves when that has ended, one way or the other. */
  async finalize(): Promise<void> {
    this.#refuse('finalize')
    await this.#transaction.finalize()
  }

  /** Takes it out of the table. */
  dismiss(): void {
    this.#refuse('dismiss')
    this.#become('null')
    this.#table.remove(this)
  }

  /** Sets the limit, in bytes per second; 0: none. */
  setSpeed(speed: number): void {
    this.#refuse('set-speed')
    checkSpeed(speed)
    this.pace.speed = speed
  }

  /** Changes options of its kind while it runs. ENOTSUP for kinds that have none. */
  change(options: Readonly<Record<string, unknown>>): void {
    this.#refuse('change')
    const change = this.#work?.change
    if (change === undefined) throw new BlockError('ENOTSUP', `Job type does not support change`)
    change.call(this.#work, options)
  }

  // What its work calls.
  /** @internal Says, once, that it is there: what it needs of the graph is mostly staged. */
  announce(): void {
    if (this.#announced) return
    this.#announced = true
    this.#tellStatus()
  }

  /** @internal Starts `work`. `until`: it is held before its first piece until that settles. */
  start(work: JobWork, until?: Promise<unknown>): void {
    this.#work = work
    this.#transaction.add(this)
    this.#become('running')
    if (until !== undefined) {
      const release = this.hold()
      this.#become('paused')
      until.then(release, release)
    }
    this.#running = this.#run(work)
  }

  /** @internal Lets it rest before its next piece of work, until the result is called. */
  hold(): () => void {
    return this.pace.hold()
  }

  /** @internal It could not be staged, or (`aborting`) others of the same change have failed. */
  discard(by?: 'aborting'): void {
    if (by !== undefined) for (const status of [by, 'concluded'] as const) this.#become(status)
    if (this.#announced) this.#become('null')
    this.#table.remove(this)
    this.#settle?.reject(new BlockError('ECANCELED', 'the job could not be started'))
  }

  /** @internal Waits while the job is paused or too fast. Throws when it is cancelled. */
  async rest(idle?: () => Promise<void>): Promise<void> {
    for (;;) {
      if (this.signal.aborted) throw new Cancelled()
      if (this.paused) await this.#park(idle)
      else {
        const wait = this.pace.due()
        if (wait <= 0) return
        await this.pace.sleep(wait)
      }
    }
  }

  /** @internal Ends the work because of something that it does not do itself. */
  fail(error: Error): void {
    this.#failure ??= error
    this.#stopWork()
  }

  async #park(idle?: () => Promise<void>): Promise<void> {
    await idle?.()
    // It may have been told to go on meanwhile.
    if (!this.paused || this.signal.aborted) return
    const before = this.#status === 'standby' || this.#status === 'ready' ? 'ready' : 'running'
    if (this.#status !== 'paused') this.#become(before === 'ready' ? 'standby' : 'paused')
    await this.pace.whileStopped()
    this.#become(before)
  }

  /** @internal Counts bytes as done. */
  advance(length: number): void {
    this.#offset += length
    this.#remaining = Math.max(0, this.#remaining - length)
  }

  /** @internal Says how many bytes are left to do. */
  setRemaining(length: number): void {
    this.#remaining = length
  }

  /** @internal Says once that it may be completed. */
  becomeReady(): void {
    this.#become('ready')
    this.#emit('BLOCK_JOB_READY', this.#figures())
  }

  /**
   * @internal What becomes of a failed request: true when the work is to go on, and has been stopped where that is the
   * policy; false when the error ends it.
   */
  judge(error: unknown, operation: 'read' | 'write', policy: ErrorPolicy): boolean {
    const action = actionOf(policy, codeOf(error))
    this.#emit('BLOCK_JOB_ERROR', { device: this.id, operation, action })
    if (action === 'stop') {
      if (this.#ioStatus === 'ok') this.#ioStatus = codeOf(error) === 'ENOSPC' ? 'nospace' : 'failed'
      this.pace.paused = true
    }
    return action !== 'report'
  }

  // What its transaction calls.
  becomePending(): void {
    this.#become('pending')
    if (!this.autoFinalize && this.isBlockJob) this.#emit('BLOCK_JOB_PENDING', { type: this.type, id: this.id })
  }

  async prepare(): Promise<void> {
    try {
      await this.#work?.prepare?.(this)
    } catch (cause) {
      // What has ended the work from outside is the reason, not that it was ended.
      const error = this.#failure ?? cause
      // In QEMU what may not take effect fails with the code alone, and the program says why.
      if (codeOf(error) === 'EPERM') {
        this.#table.graph.warn(describeFailure(error as Error))
        this.#error = describeErrorCode('EPERM')
      }
      throw error
    }
  }

  /** @internal */
  async conclude(failure: Error | undefined): Promise<void> {
    if (failure !== undefined) {
      this.#error ??= describeFailure(failure)
      this.#status = 'aborting'
    }
    try {
      await this.#work?.end(this, failure === undefined)
    } catch (error) {
      this.#table.graph.warn(`the end of job '${this.id}' failed: ${describeFailure(error as Error)}`)
    }
    // Told when it has let go of everything: who hears of it may find the job gone, as in QEMU.
    if (failure !== undefined) this.#become('aborting')
    if (this.isBlockJob) {
      const cancelled = failure instanceof Cancelled
      const error = failure === undefined || cancelled ? {} : { error: this.error }
      this.#emit(cancelled ? 'BLOCK_JOB_CANCELLED' : 'BLOCK_JOB_COMPLETED', { ...this.#figures(), ...error })
    }
    this.#become('concluded')
    if (this.autoDismiss) this.dismiss()
    if (failure === undefined) this.#settle?.resolve()
    else this.#settle?.reject(failure instanceof Cancelled ? new BlockError('ECANCELED', failure.message) : failure)
  }

  /** @internal */
  async stop(): Promise<void> {
    this.#stopWork()
    await this.#running
  }

  /** Runs the work; resolves when that has ended, before the end of the transaction. */
  #run(work: JobWork): Promise<void> {
    const ended = (): Error | undefined => this.#failure ?? (this.signal.aborted ? new Cancelled() : undefined)
    return work.run(this).then(
      () => this.#arrived(ended()),
      (error) => this.#arrived(ended() ?? (error as Error)),
    )
  }

  #arrived(failure: Error | undefined): void {
    if (failure !== undefined) return void this.#transaction.abort(this, failure)
    this.#become('waiting')
    void this.#transaction.arrived()
  }

  #stopWork(): void {
    if (!this.signal.aborted) this.#controller.abort(new BlockError('ECANCELED', 'Operation canceled'))
    this.pace.wake()
  }

  #refuse(verb: JobVerb): void {
    refuseVerb(this.id, this.#status, verb)
  }

  #become(status: JobStatus): void {
    this.#status = status
    this.#tellStatus()
  }

  #tellStatus(): void {
    this.#emit('JOB_STATUS_CHANGE', { status: this.#status, id: this.id })
    this.#table.tell(this)
  }

  #figures(): Readonly<Record<string, unknown>> {
    return { device: this.id, len: this.length, offset: this.#offset, speed: this.speed, type: this.type }
  }

  #emit(event: string, data: Readonly<Record<string, unknown>>): void {
    this.#table.graph.emit({ event, data })
  }
}
