/** Limits of bytes and operations per second, which the members of a group share. */

export { ThrottleGroup, type ThrottleGroupSettings, ThrottleMember } from './group.ts'
export {
  type BucketName,
  changedLimits,
  groupSchemas,
  limitSchemas,
  limitsOfProperties,
  noLimits,
  type ThrottleLimits,
} from './limits.ts'
export { addThrottleGroup, findThrottleGroup, joinThrottleGroup, type ThrottleHost } from './objects.ts'
