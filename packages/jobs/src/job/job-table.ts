/** The jobs of a graph. */
import { BlockError, type Graph, type Node } from '@diskgraph/core'
import { done } from '@diskgraph/core/driver'
import { due, type Inspect, inspected, inspection, kindOf } from '@diskgraph/core/internal'
import { Job } from './job.ts'
import { checkSpeed, type JobSettings, type JobType } from './settings.ts'

const wellFormed = /^[A-Za-z][A-Za-z0-9._-]*$/

/** Milliseconds that the end of the table waits for jobs to come to rest. */
const patience = 1000

/** See the top of the file. Jobs are there from their start until they are dismissed; closing the graph cancels them. */
export class JobTable implements Iterable<Job> {
  readonly graph: Graph
  readonly #jobs = new Map<string, Job>()
  readonly #listeners = new Set<(job: Job) => void>()
  #generated = 0
  #closed = false

  /** EINVAL for what is no graph. */
  constructor(graph: Graph) {
    if (!due.graph.check(graph)) throw new BlockError('EINVAL', `new JobTable needs a graph, not ${kindOf(graph)}`)
    this.graph = graph
    graph.beforeClose(() => this.#end())
  }

  /** The job called `id`. */
  get(id: string): Job | undefined {
    return this.#jobs.get(id)
  }

  /** All jobs, the newest first, as QEMU lists them. */
  list(): readonly Job[] {
    return [...this.#jobs.values()].reverse()
  }

  [Symbol.iterator](): Iterator<Job> {
    return this.list()[Symbol.iterator]()
  }

  /** Calls `listener` whenever the status of a job changes; the result ends that. */
  onChange(listener: (job: Job) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Cancels all jobs, and resolves when they have ended. No other is started here from then on: ENODEV. */
  close(): Promise<void> {
    this.#closed = true
    return this.#end()
  }

  async #end(): Promise<void> {
    // As in QEMU, whose end holds the whole graph first, a job says that it rests before it says that it is cancelled.
    await Promise.all(this.list().map((job) => this.#atRest(job)))
    for (const job of this.list()) cancel(job)
    await Promise.allSettled(this.list().map(({ finished }) => finished))
  }

  /** Holds `job`. Resolves when it rests, is over, or cannot be waited for any longer. */
  #atRest(job: Job): Promise<void> {
    if (job.status !== 'running' && job.status !== 'ready') return done
    job.hold()
    return new Promise((resolve) => {
      const end = (): void => {
        stopTimer()
        stopListening()
        resolve()
      }
      const stopTimer = this.graph.clock.timeout(patience, end)
      const stopListening = this.onChange((changed) => {
        if (changed === job && job.status !== 'running' && job.status !== 'ready') end()
      })
    })
  }

  /** Cancels the jobs that work on `node`, which its user is about to give up. */
  cancelOn(node: Node): void {
    for (const job of this.list()) if (job.nodes.has(node)) cancel(job)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** What is worth knowing of them. */
  toJSON(): Readonly<Record<string, unknown>> {
    return { jobs: this.list() }
  }

  [inspection](_depth: number, options: object, inspect: Inspect): string {
    return inspected('JobTable', this, options, inspect)
  }

  /**
   * @internal Makes a job, which is to be started or discarded. EINVAL for an id that is malformed, EEXIST for one that
   * another job has.
   */
  make(type: JobType, settings: JobSettings): Job {
    if (this.#closed) throw new BlockError('ENODEV', `cannot start a ${type} job: the table of jobs is closed`)
    const { jobId: id = this.#newId(type), speed = 0 } = settings
    if (typeof id !== 'string' || !wellFormed.test(id)) throw new BlockError('EINVAL', `Invalid job ID '${String(id)}'`)
    if (this.#jobs.has(id)) throw new BlockError('EEXIST', `Job ID '${id}' already in use`)
    const job = new Job(this, id, type, settings)
    this.#jobs.set(id, job)
    try {
      checkSpeed(speed)
    } catch (error) {
      job.announce()
      job.discard()
      throw error
    }
    return job
  }

  /** @internal */
  remove(job: Job): void {
    if (this.#jobs.get(job.id) === job) this.#jobs.delete(job.id)
  }

  /** @internal */
  tell(job: Job): void {
    for (const listener of this.#listeners) {
      try {
        listener(job)
      } catch (error) {
        this.graph.warn(`a listener of job '${job.id}' failed: ${String(error)}`)
      }
    }
  }

  #newId(type: JobType): string {
    for (;;) {
      const id = `${type}${this.#generated++}`
      if (!this.#jobs.has(id)) return id
    }
  }
}

function cancel(job: Job): void {
  if (job.status !== 'concluded' && job.status !== 'aborting') job.cancel()
}
