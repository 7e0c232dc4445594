/** What a device needs of the table that it is in. */

import type { ThrottleHost } from '@diskgraph/throttle'
import type { Backend, DeviceGraph } from './medium.ts'
import type { RunState } from './run-state.ts'

/** See the top of the file. */
export interface DeviceSystem {
  readonly graph: DeviceGraph & ThrottleHost
  readonly runState: RunState
  /** A device of the table ends. */
  forget(device: Backend): void
}
