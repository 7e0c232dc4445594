/** Opening a file for the commands. */

import { fromQapi } from '@diskgraph/core/internal'
import {
  type CacheMode,
  CommandError,
  cacheMode,
  hintOf,
  messageOf,
  reportWarning,
  type Session,
} from '@diskgraph/tools'
import { parseKeyValues, toObject } from '../key-values.ts'
import { openImage, openReason } from '../opening.ts'
import { overlayOn } from './temporary-overlay.ts'

/** How a file is opened: what the options of the program and of `open` say. */
export class OpenMode {
  readOnly = false
  forceShare = false
  snapshot = false
  copyOnRead = false
  cache = cacheMode('writeback') as CacheMode
  discard: 'ignore' | 'unmap' = 'unmap'
  aio: string | undefined
  /** Options of the node as `-o` and `--image-opts` spell them. */
  options: Record<string, string> | undefined

  /** Takes an option that program and command share; false for others. */
  take(letter: string, value: string): boolean {
    if (letter === 'r') this.readOnly = true
    else if (letter === 'U') this.forceShare = true
    else if (letter === 's') this.snapshot = true
    else if (letter === 'C') this.copyOnRead = true
    else if (letter === 'k') this.aio = 'native'
    else if (letter === 'n') this.cache = cacheMode('none') as CacheMode
    else if (letter === 't') this.cache = requireCacheMode(value)
    else if (letter === 'd') this.discard = discardMode(value)
    else if (letter === 'i') this.aio = aioMode(value)
    else return false
    return true
  }

  /** Adds options; of one that is given twice the last counts. Words without a value are told to be old-fashioned. */
  addOptions(text: string, session: Pick<Session, 'terminal'>): void {
    for (const word of shortForms(text)) {
      reportWarning(session.terminal, `short-form boolean option '${word}' deprecated`)
      session.terminal.err(`Please use ${word.replace(/^no/, '')}=${word.startsWith('no') ? 'off' : 'on'} instead\n`)
    }
    this.options = { ...this.options, ...toObject(parseKeyValues(text)) }
  }
}

/** The words of a list of options that have no `=`. */
function shortForms(text: string): string[] {
  return text.split(/(?<!,),(?!,)/).filter((word) => word !== '' && !word.includes('='))
}

/** @throws CommandError when `name` is no cache mode. */
function requireCacheMode(name: string): CacheMode {
  const mode = cacheMode(name)
  if (mode === undefined) throw new CommandError(`Invalid cache option: ${name}`)
  return mode
}

function discardMode(value: string): 'ignore' | 'unmap' {
  if (value === 'on' || value === 'unmap') return 'unmap'
  if (value === 'off' || value === 'ignore') return 'ignore'
  throw new CommandError(`Invalid discard option: ${value}`)
}

function aioMode(value: string): string {
  if (value === 'threads' || value === 'native' || value === 'io_uring') return value
  throw new CommandError(`Invalid aio option: ${value}`)
}

/** Opens a file, or what options describe when there is no name, as the session's file. */
export async function openFile(session: Session, filename: string | undefined, mode: OpenMode): Promise<void> {
  if (session.file !== undefined) throw new CommandError("file open already, try 'help close'")
  if (mode.forceShare && mode.options?.['force-share'] === 'off') {
    throw new CommandError('-U conflicts with image options')
  }
  try {
    await open(session, filename, mode)
  } catch (error) {
    const what = filename === undefined ? "can't open" : `can't open device ${filename}`
    const cause = error instanceof CommandError && error.cause !== undefined ? error.cause : error
    const hint = hintOf(cause)
    throw new CommandError(`${what}: ${reasonOf(cause)}`, { cause, ...(hint === undefined ? {} : { hint }) })
  }
}

function reasonOf(cause: unknown): string {
  return cause instanceof CommandError ? messageOf(cause) : openReason(cause)
}

async function open(session: Session, filename: string | undefined, mode: OpenMode): Promise<void> {
  const { graph, terminal } = session
  checkMode(mode, filename)
  const { driver, ...options } = fromQapi(mode.options ?? {})
  let disk = await openImage(graph, {
    filename: filename ?? (driver === undefined ? '' : `driver=${driver}`),
    imageOpts: filename === undefined,
    ...(filename === undefined ? {} : { format: driver as string | undefined }),
    writable: !mode.readOnly && !mode.snapshot,
    forceShare: mode.forceShare,
    cache: mode.cache,
    options: { discard: mode.discard, ...options },
    signal: terminal.signal,
  })
  if (mode.snapshot) disk = await overlayOn(graph, disk, mode.readOnly, { writethrough: mode.cache.writethrough })
  const { node } = disk
  if (mode.copyOnRead) await graph.insertFilter(node, { driver: 'copy-on-read' })
  session.file = { disk, node, filename: filename ?? disk.filename }
}

function checkMode(mode: OpenMode, filename: string | undefined): void {
  const { driver, file } = fromQapi(mode.options ?? {})
  if (filename === undefined && driver === undefined && file === undefined) {
    throw new CommandError('Must specify either driver or file')
  }
  if (filename === '') throw new CommandError("The 'file' block driver requires a file name")
  if (mode.forceShare && !mode.readOnly) throw new CommandError('force-share=on can only be used with read-only images')
  if (mode.copyOnRead && mode.readOnly) throw new CommandError("Can't use copy-on-read on read-only device")
  if (mode.aio === 'native' && !mode.cache.direct) {
    throw new CommandError('aio=native was specified, but it requires cache.direct=on, which was not specified.')
  }
}
