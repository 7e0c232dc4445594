/**
 * Flushing.
 *
 * `fdatasync` covers the writes that completed before it was issued, and no others. So one runs at a time; who asks
 * while it runs, after a write has completed meanwhile, shares the next one with all who ask until that begins. When
 * nothing has completed meanwhile the running one is enough, and when nothing was written since the last one there
 * is nothing to do.
 *
 * After a failure the kernel may have marked the pages clean, so a second `fdatasync` would succeed with the data
 * lost. Hence the failure is kept, and every later flush reports it, until the file is opened again. With direct
 * access there are no such pages, and each flush stands for itself.
 */
import { type BlockError, done } from '@diskgraph/core/driver'
import { syncData } from './calls.ts'
import { fileError } from './errors.ts'
import type { Target } from './transfer.ts'

/** Flushes one file. */
export class Flusher {
  readonly #target: Target
  /** A change completed since the last `fdatasync` began. */
  #dirty = false
  #running: Promise<void> | undefined
  #next: Promise<void> | undefined
  #failure: BlockError | undefined
  #direct: boolean

  constructor(target: Target, direct: boolean) {
    this.#target = target
    this.#direct = direct
  }

  /** Call when a change has completed, successfully or not. */
  markDirty(): void {
    this.#dirty = true
  }

  /** The file was opened again: an old failure no longer stands in the way. */
  reset(direct: boolean): void {
    this.#failure = undefined
    this.#direct = direct
  }

  /** Resolves when all changes that had completed before the call are on stable storage. */
  flush(): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    if (this.#running === undefined) return this.#dirty ? this.#start() : done
    if (!this.#dirty) return this.#running
    this.#next ??= this.#running.then(
      () => this.#startNext(),
      () => this.#startNext(),
    )
    return this.#next
  }

  #startNext(): Promise<void> {
    this.#next = undefined
    return this.#failure === undefined ? this.#start() : Promise.reject(this.#failure)
  }

  #start(): Promise<void> {
    this.#dirty = false
    this.#running = syncData(this.#target.fd).then(
      () => {
        this.#running = undefined
      },
      (cause: unknown) => {
        this.#running = undefined
        this.#dirty = true
        const failure = fileError(cause, `cannot flush '${this.#target.filename}'`)
        if (!this.#direct) this.#failure = failure
        throw failure
      },
    )
    return this.#running
  }
}
