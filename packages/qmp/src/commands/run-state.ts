/** Whether guests run. */
import type { RunState } from '@diskgraph/devices'
import type { System } from '../system.ts'
import type { Handlers } from './handlers.ts'

/** `query-status`, `stop`, `cont`, `system_reset`, `system_powerdown`. */
export function runStateCommands({ graph }: System, runState: RunState): Handlers {
  return {
    'query-status': () => ({ status: runState.status, singlestep: false, running: runState.running }),
    stop: () => runState.stop(),
    cont: () => runState.cont(),
    system_reset: () => graph.emit({ event: 'RESET', data: { guest: false, reason: 'host-qmp-system-reset' } }),
    system_powerdown: () => graph.emit({ event: 'POWERDOWN', data: {} }),
  }
}
