/** The states of a job, and what may be asked of it in each. */
import { BlockError } from '@diskgraph/core'

/** Where a job stands. */
export type JobStatus =
  | 'created'
  | 'running'
  | 'paused'
  /** Like running, and `complete` may be asked for. */
  | 'ready'
  /** Paused while ready. */
  | 'standby'
  /** Done, while others of its transaction are not. */
  | 'waiting'
  /** All of the transaction are done: `finalize` makes it take effect. */
  | 'pending'
  | 'aborting'
  /** Over; `dismiss` makes it go. */
  | 'concluded'
  | 'null'

/** What may be asked of a job. */
export type JobVerb = 'cancel' | 'pause' | 'resume' | 'set-speed' | 'complete' | 'finalize' | 'dismiss' | 'change'

const live: readonly JobStatus[] = ['created', 'running', 'paused', 'ready', 'standby']

const allowed: Readonly<Record<JobVerb, readonly JobStatus[]>> = {
  cancel: [...live, 'waiting', 'pending'],
  pause: live,
  resume: live,
  'set-speed': live,
  change: live,
  complete: ['ready', 'standby'],
  finalize: ['pending'],
  dismiss: ['concluded'],
}

/** Throws EBUSY when `verb` cannot be asked of the job `id` in `status`. */
export function refuseVerb(id: string, status: JobStatus, verb: JobVerb): void {
  if (allowed[verb].includes(status)) return
  throw new BlockError('EBUSY', `Job '${id}' in state '${status}' cannot accept command verb '${verb}'`)
}
