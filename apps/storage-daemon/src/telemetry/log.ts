/** What the daemon says of itself: warnings on standard error, or lines of JSON with more. */
import { closeSync, openSync } from 'node:fs'
import { describeErrorCode, errorCodeOf } from '@diskgraph/core'
import { parseKeyValues, toObject } from '@diskgraph/qapi'
import { StartError } from '../failure.ts'

/** Where it says it. `members` tell of what, for machines. */
export interface Log {
  debug(message: string, members?: object): void
  info(message: string, members?: object): void
  warn(message: string): void
  error(message: string): void
  /** The address of the console, which lets in who has it. */
  console(url: string): void
  close(): void
}

/** Warnings and errors for people, as a program without a log has them. */
export function plainLog(program: string): Log {
  const write = (text: string): void => void process.stderr.write(`${program}: ${text}\n`)
  return {
    debug: () => undefined,
    info: () => undefined,
    warn: (message) => write(`warning: ${message}`),
    error: write,
    console: tellConsole,
    close: () => undefined,
  }
}

/** A line for a person. */
function tellConsole(url: string): void {
  process.stderr.write(`console: ${url}\n`)
}

const levels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal']

/**
 * Lines of JSON by pino, as `text` says: a level (they go to standard error then), a file, or `level=LEVEL,file=FILE`. A
 * file is for its owner alone, and is added to.
 */
export async function jsonLog(program: string, text: string): Promise<Log> {
  const {
    to = '',
    file = levels.includes(to) || (to === '' && text.includes('level=')) ? undefined : to,
    level = levels.includes(to) ? to : 'info',
    ...others
  } = toObject(parseKeyValues(text, 'to'))
  const [other] = Object.keys(others)
  if (other !== undefined) throw new StartError(`Invalid parameter '${other}'`)
  if (!levels.includes(level)) throw new StartError(`there is no level '${level}': one of ${levels.join(', ')}`)
  if (file === '') throw new StartError(`a level (${levels.join(', ')}) or a file is expected`)
  // A misspelt level is not to become a file.
  if (to !== '' && file !== undefined && !/[./]/.test(file)) {
    throw new StartError(`there is no level '${file}': one of ${levels.join(', ')}, or a file (./${file})`)
  }
  const fd = file === undefined ? 2 : openFile(file)
  const { default: pino } = await import('pino')
  const destination = pino.destination({ dest: fd, sync: true })
  // A full file system is no reason to stop: whoever looks at standard error hears of it once.
  let failed = false
  destination.on('error', (error: Error) => {
    if (!failed && fd !== 2) process.stderr.write(`${program}: warning: cannot write the log: ${error.message}\n`)
    failed = true
  })
  const lines = pino({ level, base: { program, pid: process.pid } }, destination)
  return {
    debug: (message, members = {}) => lines.debug(members, message),
    info: (message, members = {}) => lines.info(members, message),
    warn: (message) => lines.warn(message),
    error: (message) => {
      lines.error(message)
      // Whoever has started it looks there.
      if (fd !== 2) process.stderr.write(`${program}: ${message}\n`)
    },
    console: (url) => {
      // Lines of JSON that a program reads are kept free of others, and a log of a secret.
      if (fd !== 2 || process.stderr.isTTY) tellConsole(url)
      lines.info({ url: url.replace(/#.*/, '') }, 'console')
    },
    close: () => {
      if (fd !== 2) closeSync(fd)
    },
  }
}

function openFile(path: string): number {
  try {
    return openSync(path, 'a', 0o600)
  } catch (cause) {
    throw new StartError(`Could not open '${path}': ${describeErrorCode(errorCodeOf(cause))}`, cause)
  }
}
