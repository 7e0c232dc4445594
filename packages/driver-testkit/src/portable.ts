/** The parts of the kit that run everywhere, browsers included. */
export { must, mustBeAll, mustEqual, mustReject } from './assertions.ts'
export { bugIn } from './bugs.ts'
export { checked, checkedImage, type Report } from './checker.ts'
export type { ConformanceSettings, Definition, SetUpContext, Subject, TestFunctions } from './conformance/fixture.ts'
export { conformance } from './conformance/suite.ts'
export {
  type CrashFinding,
  type CrashJudge,
  type CrashReport,
  type CrashTestSettings,
  crashTest,
  type JudgedState,
  type NegativeControl,
  negativeControls,
  type RecordingChange,
} from './crash/crash-test.ts'
export { type RecordedCall, type RecordedKind, Recording } from './crash/recorder.ts'
export { type CrashState, CrashWalk } from './crash/states.ts'
export type { GuestKind, Workload } from './crash/workload.ts'
export { compareWhole, type DiskLike, perform, performBatch } from './exercise.ts'
export { type Fault, Faults } from './faults.ts'
export { type Call, type CallKind, callKinds } from './forward.ts'
export { type GrowthTestSettings, growthTest } from './growth.ts'
export { type MemoryFileOptions, MemoryFiles } from './memory-files.ts'
export { type ByteRange, Model } from './model.ts'
export { type Field, type FieldList, mutate, type NumberRange, numberFields } from './mutation/mutations.ts'
export { qcow2Fields } from './mutation/qcow2-fields.ts'
export { type MutatedUse, type MutationDrivers, useMutated } from './mutation/verbs.ts'
export {
  describeOperation,
  type Operation,
  OperationGenerator,
  type OperationKind,
  type OperationSettings,
} from './operations.ts'
export { PagedFile } from './paged-file.ts'
export { Random, randomSeed } from './random.ts'
export { type SimulationReport, type SimulationSettings, simulate } from './simulation/simulate.ts'
export { VirtualClock } from './simulation/virtual-clock.ts'
export { errorSweep, type SweepFinding, type SweepReport, type SweepSettings } from './sweep.ts'
