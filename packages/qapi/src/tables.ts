/** The whole schema outside of the drivers, whose types are made from their option schemas. */
import { deviceCommands, deviceTypes } from './schema/device.ts'
import { events } from './schema/events.ts'
import { exportCommands, exportTypes } from './schema/export.ts'
import { graphCommands, graphTypes } from './schema/graph.ts'
import { imageTypes } from './schema/images.ts'
import { introspectionTypes } from './schema/introspection.ts'
import { jobCommands, jobTypes } from './schema/job.ts'
import { monitorCommands, monitorTypes } from './schema/monitor.ts'
import { nodeTypes } from './schema/node.ts'
import { transactionTypes } from './schema/transaction.ts'

/** Types by name. */
export const types = {
  ...imageTypes,
  ...deviceTypes,
  ...graphTypes,
  ...nodeTypes,
  ...jobTypes,
  ...exportTypes,
  ...transactionTypes,
  ...introspectionTypes,
  ...monitorTypes,
} as const

/** Commands by name. */
export const commands = {
  ...deviceCommands,
  ...graphCommands,
  ...jobCommands,
  ...exportCommands,
  ...monitorCommands,
} as const

export { events }
