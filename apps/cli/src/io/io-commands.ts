/** All commands, in the order of `help`. */
import { diskCommands, type IoCommand } from '@diskgraph/tools'
import { close, open, reopen } from './file-commands.ts'

export const ioCommands: readonly IoCommand[] = [...diskCommands, close, open, reopen].sort((a, b) =>
  a.name < b.name ? -1 : 1,
)
