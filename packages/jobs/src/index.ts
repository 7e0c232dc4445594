/** Work on whole disks: for applications, and for live block jobs to stand on. */

export { setReadOnly, storageNodes, unfiltered } from './disk/chain.ts'
export { type CommitOptions, commit } from './disk/commit.ts'
export { type CompareOptions, compare, type Difference } from './disk/compare.ts'
export { type CopyOptions, type CopyTarget, copy } from './disk/copy.ts'
export { type BackingReference, changeBacking, rebase } from './disk/rebase.ts'
export { copyStream, type StreamOptions } from './disk/stream.ts'
export { type FailedRequest, JobError, type JobOptions, type JobProgress } from './engine/work.ts'
