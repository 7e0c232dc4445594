/** Everything of the kit; in browsers `portable.ts` alone stands for it. */

export { type QemuImgJudgeSettings, qemuImgJudge } from './crash/qemu-img-judge.node.ts'
export { type CrashSuiteSettings, crashSuite } from './crash-suite.node.ts'
export {
  type Difference,
  type DifferenceKind,
  type DifferentialReport,
  type DifferentialSettings,
  differentialTest,
  shrinkDifference,
} from './differential/differential.node.ts'
export type { Step, StepKind } from './differential/steps.ts'
export { mustShowExample } from './examples.node.ts'
export { mutatedImage, serveMutations } from './mutation/child.node.ts'
export {
  type MutationFinding,
  type MutationReport,
  type MutationTestSettings,
  mutationTest,
} from './mutation/mutation-test.node.ts'
export {
  findTool,
  type PeerTests,
  peer,
  type SkippingTest,
  type SkippingTestFunctions,
} from './peer.node.ts'
export * from './portable.ts'
export type { ReliabilityMutations, ReliabilitySubject, ReliabilityVariant } from './reliability.ts'
export { answers, ServerProcess, type ServerSocket } from './server-process.node.ts'
export { loadFile, QemuIo, runTool, storeFile, TempFolder, type ToolResult } from './tools.node.ts'
