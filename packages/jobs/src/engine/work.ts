/** What all jobs have in common: how they are steered, and how they fail. */
import {
  abortedError,
  BlockError,
  describeErrorCode,
  type ErrorCode,
  isBlockError,
  toBlockError,
} from '@diskgraph/core/driver'

/** How far a job has come, in bytes. */
export interface JobProgress {
  readonly done: number
  readonly total: number
}

/** What every job takes. */
export interface JobOptions {
  /** Ends the job early: what is in flight ends, then the job rejects with ECANCELED. */
  readonly signal?: AbortSignal | undefined
  /** Called at the start, whenever a piece of work has ended, and with `done` equal to `total` at the end. */
  readonly onProgress?: ((progress: JobProgress) => void) | undefined
  /** Bytes of data per second at most. Default: as fast as it goes. */
  readonly speed?: number | undefined
}

/** The part of a job that failed. */
export interface FailedRequest {
  readonly operation: 'status' | 'read' | 'write'
  readonly disk: 'source' | 'target' | 'first' | 'second'
  /** Where in the disk, in bytes. */
  readonly offset: number
}

const verbs = { status: 'get the status of', read: 'read', write: 'write to' } as const

/** A request of a job that failed. It has the code of the error of that request, which is its `cause`. */
export class JobError extends BlockError {
  readonly request: FailedRequest

  constructor(request: FailedRequest, reason: unknown) {
    const cause = toBlockError(reason)
    const { operation, disk, offset } = request
    const { hint, node } = cause
    super(cause.code, `cannot ${verbs[operation]} the ${disk} at byte ${offset}: ${cause.message}`, {
      cause,
      ...(hint === undefined ? {} : { hint }),
      ...(node === undefined ? {} : { node }),
    })
    this.request = request
  }
}

/** Runs `work`; whatever an aborted job fails with, its error is that of the abort. */
export async function runJob<T>(options: JobOptions, work: () => Promise<T>): Promise<T> {
  const signal = options?.signal
  try {
    if (signal?.aborted) throw abortedError(signal)
    return await work()
  } catch (error) {
    throw signal?.aborted ? abortedError(signal) : error
  }
}

/** Waits for all, then throws the first error. */
export async function allSettled(work: readonly Promise<unknown>[]): Promise<void> {
  for (const result of await Promise.allSettled(work)) if (result.status === 'rejected') throw result.reason
}

/** Why a job failed, in QEMU's words: a request that failed is told by its code alone. */
export function describeFailure(error: Error): string {
  return error instanceof JobError ? describeErrorCode(error.code) : error.message
}

/** The code of a failed request. */
export function codeOf(error: unknown): ErrorCode {
  return isBlockError(error) ? error.code : 'EIO'
}
