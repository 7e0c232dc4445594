/** Work on whole disks. */
export { type Comparison, type ComparisonOptions, compareDisks, firstDifference } from './compare.ts'
export { type CopySettings, type CopyTarget, chunkLength, copyDisks, TargetError, workOf } from './copier.ts'
export { copyDifferences, type Differences } from './rebase.ts'
export { type Content, type Range, Source, SourceError, type SourceOptions } from './source.ts'
export { findRuns, isZeroRange, type Run } from './zero-scan.ts'
