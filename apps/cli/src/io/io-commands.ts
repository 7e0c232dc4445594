/** All commands, in the order of `help`. */
import { aioFlush, aioRead, aioWrite } from './background-commands.ts'
import { abort, breakCommand, help, quit, removeBreak, resume, sigraise, sleep, waitBreak } from './control-commands.ts'
import { close, open, reopen } from './file-commands.ts'
import { alloc, discard, flush, info, length, map, truncate } from './image-commands.ts'
import { read, readv } from './read-commands.ts'
import type { IoCommand } from './session.ts'
import { write, writev } from './write-commands.ts'

export const ioCommands: readonly IoCommand[] = [
  abort,
  aioFlush,
  aioRead,
  aioWrite,
  alloc,
  breakCommand,
  close,
  discard,
  flush,
  help,
  info,
  length,
  map,
  open,
  quit,
  read,
  readv,
  removeBreak,
  reopen,
  resume,
  sigraise,
  sleep,
  truncate,
  waitBreak,
  write,
  writev,
]
