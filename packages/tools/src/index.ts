/** What the tools share: the commands of `dg-io`, how results and errors are told. */

export { type CacheMode, cacheMode, cacheModeNames } from './cache-modes.ts'
export { infoText } from './info-text.ts'
export { parseInteger } from './integers.ts'
export { diskCommands } from './io/commands.ts'
export { GetoptError, type GetoptGrammar, type Parsed, parseOptions } from './io/getopt.ts'
export { type ReopenRequest, reopenCommand, reopenNode } from './io/reopen.ts'
export { amount, hexDump, report } from './io/report.ts'
export { type CommandWords, type IoCommand, Session, WrongUsage } from './io/session.ts'
export { qemuJson, qemuJsonPieces } from './json.ts'
export {
  CommandError,
  errnoText,
  HelpRequested,
  hintOf,
  messageOf,
  reportError,
  reportWarning,
  showFailure,
  UsageError,
  visible,
  visibleLine,
} from './messages.ts'
export { generalNumber, humanSize, readSize, sizeArgument, twoDecimals } from './sizes.ts'
export { snapshotTable } from './snapshot-table.ts'
export type { Terminal } from './terminal.ts'
