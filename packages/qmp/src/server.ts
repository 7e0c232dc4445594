/** A monitor for a system, with all commands that the system has the parts for. */
import { checkSettings, rule } from '@diskgraph/core/internal'
import { bitmapCommands } from './commands/bitmaps.ts'
import { prepareDefinitions } from './commands/definitions.ts'
import { descriptorCommands } from './commands/descriptors.ts'
import { deviceCommands } from './commands/devices.ts'
import { exportCommands } from './commands/exports.ts'
import type { Handlers } from './commands/handlers.ts'
import { jobCommands } from './commands/jobs.ts'
import { monitorCommands } from './commands/monitor.ts'
import { nodeCommands } from './commands/nodes.ts'
import { objectCommands } from './commands/objects.ts'
import { queryCommands } from './commands/queries.ts'
import { runStateCommands } from './commands/run-state.ts'
import { snapshotCommands } from './commands/snapshots.ts'
import { thresholdCommands } from './commands/thresholds.ts'
import { transactionCommands } from './commands/transaction.ts'
import { Monitor } from './monitor/monitor.ts'
import type { Version } from './monitor/session.ts'
import { System } from './system.ts'

/** The version of QEMU whose commands these are. */
const version: Version = { qemu: { major: 7, minor: 2, micro: 22 }, package: 'diskgraph' }

/** How a monitor is to be. */
interface MonitorOptions {
  readonly version?: Version
  /** Commands that the program adds, or has in place of those that are there. */
  readonly handlers?: Handlers
}

const anObject = rule('an object', (value) => typeof value === 'object' && value !== null)
const rules = {
  system: { ...rule('a System', (value) => value instanceof System), required: true },
  version: anObject,
  handlers: anObject,
}

/** Makes the monitor of `system`. Close it when nobody is to use it any more; the system stays. */
export function createMonitor(system: System, settings: MonitorOptions = {}): Monitor {
  checkSettings('createMonitor', rules, { system, ...settings })
  const { devices } = system
  const monitor: Monitor = new Monitor({
    graph: system.graph,
    schema: system.schema,
    version: settings.version ?? version,
    handlers: {
      ...monitorCommands(system, () => monitor),
      ...nodeCommands(system),
      ...snapshotCommands(system),
      ...queryCommands(system),
      ...bitmapCommands(system),
      ...thresholdCommands(system),
      ...transactionCommands(system),
      ...objectCommands(system),
      ...descriptorCommands(system),
      ...jobCommands(system),
      ...exportCommands(system, system.nbd),
      ...(devices === undefined
        ? {}
        : { ...deviceCommands(system, devices), ...runStateCommands(system, devices.runState) }),
      ...settings.handlers,
    },
    onCommand: (command) => system.onActivity?.('QMP command', { command }),
    prepare: (_command, args) => prepareDefinitions(system, args),
  })
  return monitor
}
