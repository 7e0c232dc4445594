/** Work on whole disks: for applications, and for live block jobs to stand on. */

export {
  type AddedBitmap,
  addBitmap,
  type BitmapSettings,
  bitmapSha256,
  clearBitmap,
  enableBitmap,
  findBitmap,
  mergeBitmaps,
  removeBitmap,
} from './bitmaps/bitmaps.ts'
export { setReadOnly, storageNodes, unfiltered } from './disk/chain.ts'
export { type CommitOptions, commit } from './disk/commit.ts'
export { type CompareOptions, compare, type Difference } from './disk/compare.ts'
export { type CopyOptions, type CopyTarget, copy } from './disk/copy.ts'
export { missingFile } from './disk/missing-file.ts'
export { type BackingReference, changeBacking, rebase } from './disk/rebase.ts'
export { type MissingRange, type RescueOptions, type RescueResult, type RescueTarget, rescue } from './disk/rescue.ts'
export { copyStream, type StreamOptions } from './disk/stream.ts'
export { type FailedRequest, JobError, type JobOptions, type JobProgress } from './engine/work.ts'
export { Job } from './job/job.ts'
export { JobTable } from './job/job-table.ts'
export type { ErrorPolicy, JobSettings, JobType } from './job/settings.ts'
export type { JobStatus } from './job/states.ts'
export { JobTransaction } from './job/transaction.ts'
export { type BackupOptions, type BitmapMode, startBackup } from './live/backup.ts'
export { type CommitJobOptions, startCommit } from './live/commit.ts'
export { type AmendJobOptions, type CreateJobOptions, startAmend, startCreate } from './live/image-jobs.ts'
export { type MirrorOptions, startMirror } from './live/mirror.ts'
export type { CopyMode } from './live/mirror-image.ts'
export { type StreamJobOptions, startStream } from './live/stream.ts'
