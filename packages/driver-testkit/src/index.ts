/** Everything of the kit; in browsers `portable.ts` alone stands for it. */
export * from './portable.ts'
export {
  type Difference,
  type DifferentialReport,
  type DifferentialSettings,
  differentialTest,
  shrinkDifference,
} from './differential/differential.node.ts'
export type { Step, StepKind } from './differential/steps.ts'
export {
  findTool,
  type PeerTests,
  peer,
  type SkippingTest,
  type SkippingTestFunctions,
} from './peer.node.ts'
export { loadFile, QemuIo, runTool, storeFile, TempFolder, type ToolResult } from './tools.node.ts'
export { mutatedImage, serveMutations } from './mutation/child.node.ts'
export {
  type MutationFinding,
  type MutationReport,
  mutationTest,
  type MutationTestSettings,
} from './mutation/mutation-test.node.ts'
export { qemuImgJudge, type QemuImgJudgeSettings } from './crash/qemu-img-judge.node.ts'
