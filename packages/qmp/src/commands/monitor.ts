/** Commands about the monitor and the program. */

import type { ReturnOf } from '@diskgraph/qapi'
import { introspect } from '@diskgraph/qapi'
import type { Version } from '../monitor/session.ts'
import type { System } from '../system.ts'
import type { Handlers } from './handlers.ts'

/** What the commands below need of the monitor that they are commands of. */
interface OwnMonitor {
  readonly version: Version
  readonly commandNames: readonly string[]
}

/** `query-version`, `query-commands`, `query-events`, `query-qmp-schema`, `query-name`, `query-uuid`, `query-chardev`, `quit`. */
export function monitorCommands(system: System, monitor: () => OwnMonitor): Handlers {
  const { chardevs } = system
  return {
    'query-version': () => monitor().version,
    'query-commands': () => monitor().commandNames.map((name) => ({ name })),
    'query-events': () => system.schema.eventNames.map((name) => ({ name })),
    'query-name': () => (system.name === undefined ? {} : { name: system.name }),
    // A machine that was given none.
    'query-uuid': () => ({ UUID: '00000000-0000-0000-0000-000000000000' }),
    ...(chardevs === undefined ? {} : { 'query-chardev': () => [...chardevs()] }),
    'query-qmp-schema': async () => {
      const { registry } = system.graph
      for (const name of registry.names) system.schema.addDriver(await registry.get(name))
      return introspect(system.schema, monitor().commandNames) as unknown as ReturnOf<'query-qmp-schema'>
    },
    quit: () => system.quit(),
  }
}
