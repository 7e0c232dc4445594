export { Accounting, type AccountingSettings, type DeviceStatistics, type HistogramBoundaries } from './accounting.ts'
export {
  type BlockStatistics,
  type DeviceInfo,
  deviceInfo,
  deviceStatistics,
  usedNodeStatistics,
} from './block-info.ts'
export { Device } from './device.ts'
export type { DeviceModel, DeviceSettings } from './device-settings.ts'
export { DeviceTable } from './device-table.ts'
export type { ErrorAction, ErrorPolicies, ErrorPolicy } from './error-policy.ts'
export type { IoStatus } from './guest.ts'
export type { LatencyHistogramInfo } from './histogram.ts'
export { Medium } from './medium.ts'
export { RunState, type RunStatus } from './run-state.ts'
export type { ShortLimits } from './throttling.ts'
