/** Work on whole disks: for applications, and for live block jobs to stand on. */

export { setReadOnly, storageNodes, unfiltered } from './chain.ts'
export { type CommitOptions, commit } from './commit.ts'
export { type CompareOptions, compare, type Difference } from './compare.ts'
export { type CopyOptions, type CopyTarget, copy } from './copy.ts'
export { type FailedRequest, JobError, type JobOptions, type JobProgress } from './job.ts'
export { type BackingReference, changeBacking, rebase } from './rebase.ts'
export { copyStream, type StreamOptions } from './stream.ts'
