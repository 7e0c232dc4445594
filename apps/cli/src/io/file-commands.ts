/** `open`, `close` and `reopen`. */

import { type Change, isBlockError, type Node, Permission } from '@diskgraph/core'
import { fromQapi, toKebabCase } from '@diskgraph/core/internal'
import { setReadOnly, storageNodes } from '@diskgraph/jobs'
import { CommandError, type CommandWords, type IoCommand, messageOf, type Session, WrongUsage } from '@diskgraph/tools'
import { parseKeyValues, toObject } from '../key-values.ts'
import type { CacheMode } from '../opening.ts'
import { OpenMode, openFile, requireCacheMode } from './open-file.ts'

export const open: IoCommand = {
  name: 'open',
  alias: 'o',
  minimum: 1,
  maximum: Number.POSITIVE_INFINITY,
  synopsis: '[-rsCnkU] [-t cache] [-d discard] [-o options] [path]',
  summary: 'open the file specified by path',
  letters: 'snCro:ki:t:d:U',
  help: `
 Opens a file for the commands that follow.

 Example:
 'open -n -o driver=raw /tmp/data' - opens raw data for reading and writing, past the page cache

 -r, -- for reading only
 -s, -- keep changes in a temporary overlay
 -C, -- keep what comes from a backing file in the file itself
 -n, -- past the page cache, as -t none
 -U, -- share the file with everybody (with -r)
 -k, -- as -i native
 -i, -- how requests are made: threads, native or io_uring; told apart only in their conditions
 -t, -- cache mode
 -d, -- whether discards reach the storage
 -o, -- options of the driver
`,
  fileless: true,
  waits: true,
  async run(session, words) {
    const mode = new OpenMode()
    for (const letter of 'rUsCknitd') {
      for (const value of words.values(letter)) mode.take(letter, value)
    }
    for (const text of words.values('o')) mode.addOptions(text, session)
    const [filename, extra] = words.operands
    if (extra !== undefined || (filename === undefined && words.values('o').length === 0 && !hasAny(words))) {
      throw new WrongUsage()
    }
    await openFile(session, filename, mode)
  },
}

function hasAny(words: CommandWords): boolean {
  return [...'rUsCknitd'].some((letter) => words.has(letter))
}

export const close: IoCommand = {
  name: 'close',
  alias: 'c',
  minimum: 0,
  maximum: 0,
  summary: 'close the current open file',
  waits: true,
  run: closeFile,
}

/** Lets go of the session's file once its requests have ended. */
export async function closeFile(session: Session): Promise<void> {
  const { file } = session
  if (file === undefined) return
  await session.background.finish()
  session.file = undefined
  try {
    await file.disk.close()
  } catch (error) {
    throw new CommandError(messageOf(error), { cause: error })
  }
}

export const reopen: IoCommand = {
  name: 'reopen',
  minimum: 0,
  maximum: Number.POSITIVE_INFINITY,
  synopsis: '[(-r|-w)] [-c cache] [-o options]',
  summary: 'reopens an image with new options',
  letters: 'c:o:rw',
  help: `
 Changes how the open file is used.

 Example:
 'reopen -o lazy-refcounts=on' - lets a qcow2 image write its reference counts later

 -r, -- for reading only
 -w, -- for reading and writing
 -c, -- cache mode
 -o, -- options of the driver, as for 'open'
`,
  waits: true,
  run: runReopen,
}

async function runReopen(session: Session, words: CommandWords): Promise<void> {
  if (words.operands.length > 0) throw new WrongUsage()
  const cacheWord = words.value('c')
  const cache = cacheWord === undefined ? undefined : requireCacheMode(cacheWord)
  const modes = ['r', 'w'].filter((letter) => words.has(letter))
  if (modes.length > 1) throw new CommandError('Only one -r/-w option may be given')
  const flat = Object.assign({}, ...words.values('o').map((text) => toObject(parseKeyValues(text)))) as Flat
  if (modes.length > 0 && 'read-only' in flat) throw new CommandError("Cannot set both -r/-w and 'read-only'")
  if (cache !== undefined && ('cache.direct' in flat || 'cache.no-flush' in flat)) {
    throw new CommandError('Cannot set both -c and the cache options')
  }
  const readOnly = modes.length === 0 ? undefined : modes[0] === 'r'
  await session.background.finish()
  await changeFile(session, flat, readOnly, cache)
}

type Flat = Record<string, string>

/**
 * Changes the open file. A root that may write stands against a read-only node, so for `-r` it is given up first and
 * taken again last.
 */
async function changeFile(
  session: Session,
  flat: Flat,
  readOnly: boolean | undefined,
  cache: CacheMode | undefined,
): Promise<void> {
  const { graph } = session
  const file = session.file as NonNullable<Session['file']>
  const { node, disk } = file
  const top = disk.node
  if (readOnly && top !== node) {
    throw new CommandError(`Can't set node '${node.name}' to r/o with copy-on-read enabled`)
  }
  const holder = await graph.attach(top, { permissions: Permission.ConsistentRead })
  if (readOnly === true) await disk.close()
  try {
    if (readOnly !== undefined) await setReadOnly(graph, top, readOnly)
    if (cache !== undefined) {
      const { direct, noFlush } = cache
      for (const one of storageNodes(node)) await graph.reopen(one, { cache: { direct, noFlush } })
    }
    await changeOptions(session, node, flat)
  } catch (error) {
    throw new CommandError(messageOf(error), { cause: error })
  } finally {
    if (readOnly !== true) await file.disk.close()
    const writethrough = cache === undefined ? {} : { writethrough: cache.writethrough }
    session.file = { ...file, disk: await graph.attach(top, writethrough) }
    await holder.close()
  }
}

/** What `-o` says: all of it or nothing. The storage of a node that is to write must write, too. */
async function changeOptions({ graph }: Session, node: Node, flat: Flat): Promise<void> {
  const changes = optionsByNode(node, flat)
  await graph.change(async (change) => {
    for (const [target, options] of changes) {
      await reopenNode(change, target, options)
      const { 'read-only': readOnly } = options
      const below = readOnly === undefined ? [] : storageNodes(target).slice(1)
      for (const one of below) {
        if (changes.get(one)?.['read-only'] === undefined) await reopenNode(change, one, { 'read-only': readOnly })
      }
    }
  })
}

/** Options such as `file.locking` belong to the child called `file`. */
function optionsByNode(node: Node, flat: Flat): Map<Node, Flat> {
  const result = new Map<Node, Flat>()
  for (const [key, value] of Object.entries(flat)) {
    let target = node
    let name = key
    for (;;) {
      const dot = name.indexOf('.')
      const child = dot < 0 ? undefined : target.children.get(name.slice(0, dot))
      if (child === undefined) break
      target = child.node
      name = name.slice(dot + 1)
    }
    result.set(target, { ...result.get(target), [name]: value })
  }
  return result
}

async function reopenNode(change: Change, node: Node, options: Flat): Promise<void> {
  try {
    await change.reopen(node, fromQapi(options))
  } catch (error) {
    const unknown = isBlockError(error) ? /^Invalid parameter '(.*)'$/.exec(error.message)?.[1] : undefined
    if (unknown === undefined) throw error
    const name = Object.keys(options).find((key) => key.startsWith(toKebabCase(unknown))) ?? unknown
    throw new CommandError(`Cannot change the option '${name}'`, { cause: error })
  }
}
