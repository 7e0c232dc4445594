/** What every start of a job takes. */
import { BlockError, type ErrorCode } from '@diskgraph/core'
import type { JobTransaction } from './transaction.ts'

/** What a job is doing. */
export type JobType = 'stream' | 'commit' | 'mirror' | 'backup' | 'create' | 'amend'

/** What every start of a job takes. */
export interface JobSettings {
  /** Letters, digits, `-`, `.` and `_`, beginning with a letter. Default: one that nobody has. */
  readonly jobId?: string | undefined
  /** Bytes per second at most; 0 (default): as fast as it goes. */
  readonly speed?: number | undefined
  /** False: what it has done takes effect by `finalize()` only. Default true. */
  readonly autoFinalize?: boolean | undefined
  /** False: it stays in the table until `dismiss()`. Default true. */
  readonly autoDismiss?: boolean | undefined
  /** Jobs with the same one take effect together or not at all. */
  readonly transaction?: JobTransaction | undefined
}

/** What is done with a failed request: see `Job.judge`. */
export type ErrorPolicy = 'report' | 'ignore' | 'enospc' | 'stop' | 'auto'

/** What `policy` makes of a request that has failed with `code`. */
export function actionOf(policy: ErrorPolicy, code: ErrorCode): 'report' | 'ignore' | 'stop' {
  if (policy === 'stop' || ((policy === 'enospc' || policy === 'auto') && code === 'ENOSPC')) return 'stop'
  return policy === 'ignore' ? 'ignore' : 'report'
}

/** EINVAL for what is no speed. */
export function checkSpeed(speed: number): void {
  if (Number.isSafeInteger(speed) && speed >= 0) return
  throw new BlockError('EINVAL', "Parameter 'speed' expects a non-negative value")
}
