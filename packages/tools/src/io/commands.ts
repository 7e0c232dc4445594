/** The commands about an open disk, in the order of `help`. */
import { aioFlush, aioRead, aioWrite } from './background-commands.ts'
import { abort, breakCommand, help, quit, removeBreak, resume, sigraise, sleep, waitBreak } from './control-commands.ts'
import { alloc, discard, flush, info, length, map, truncate } from './image-commands.ts'
import { read, readv } from './read-commands.ts'
import type { IoCommand } from './session.ts'
import { write, writev } from './write-commands.ts'

export const diskCommands: readonly IoCommand[] = [
  abort,
  aioFlush,
  aioRead,
  aioWrite,
  alloc,
  breakCommand,
  discard,
  flush,
  help,
  info,
  length,
  map,
  quit,
  read,
  readv,
  removeBreak,
  resume,
  sigraise,
  sleep,
  truncate,
  waitBreak,
  write,
  writev,
]
