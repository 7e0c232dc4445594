/** `reopen`: what its words say, and what that changes of the nodes of a disk. Whose disk it is the program knows. */
import { type Change, type Graph, isBlockError, type Node } from '@diskgraph/core'
import { fromQapi, toKebabCase } from '@diskgraph/core/internal'
import { setReadOnly, storageNodes } from '@diskgraph/jobs'
import { parseKeyValues, toObject } from '@diskgraph/qapi'
import { type CacheMode, cacheMode } from '../cache-modes.ts'
import { CommandError } from '../messages.ts'
import { type CommandWords, type IoCommand, type Session, WrongUsage } from './session.ts'

/** How a disk is to be used from now on. */
export interface ReopenRequest {
  /** Undefined: as before. */
  readonly readOnly: boolean | undefined
  readonly cache: CacheMode | undefined
  /** Options of its node, `file.locking` that of a child. */
  readonly options: Readonly<Record<string, string>>
}

/** The command, for a program that carries out what it asks for by `run`. */
export function reopenCommand(run: (session: Session, request: ReopenRequest) => Promise<void>): IoCommand {
  return {
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
    run: async (session, words) => {
      const request = requestOf(words)
      await session.background.finish()
      await run(session, request)
    },
  }
}

function requestOf(words: CommandWords): ReopenRequest {
  if (words.operands.length > 0) throw new WrongUsage()
  const name = words.value('c')
  const cache = name === undefined ? undefined : cacheMode(name)
  if (name !== undefined && cache === undefined) throw new CommandError(`Invalid cache option: ${name}`)
  const modes = ['r', 'w'].filter((letter) => words.has(letter))
  if (modes.length > 1) throw new CommandError('Only one -r/-w option may be given')
  const options: Record<string, string> = Object.assign(
    {},
    ...words.values('o').map((text) => toObject(parseKeyValues(text))),
  )
  if (modes.length > 0 && 'read-only' in options) throw new CommandError("Cannot set both -r/-w and 'read-only'")
  if (cache !== undefined && ('cache.direct' in options || 'cache.no-flush' in options)) {
    throw new CommandError('Cannot set both -c and the cache options')
  }
  return { readOnly: modes.length === 0 ? undefined : modes[0] === 'r', cache, options }
}

/** Changes `node`, and what below it `request` speaks of. */
export async function reopenNode(graph: Graph, node: Node, request: ReopenRequest): Promise<void> {
  const { readOnly, cache, options } = request
  if (readOnly !== undefined) await setReadOnly(graph, node, readOnly)
  if (cache !== undefined) {
    const { direct, noFlush } = cache
    await graph.reopen(node, { cache: { direct, noFlush } })
  }
  await changeOptions(graph, node, options)
}

type Flat = Readonly<Record<string, string>>

/** What `-o` says: all of it or nothing. The storage of a node that is to write must write, too. */
async function changeOptions(graph: Graph, node: Node, flat: Flat): Promise<void> {
  const changes = optionsByNode(node, flat)
  await graph.change(async (change) => {
    for (const [target, options] of changes) {
      await changeNode(change, target, options)
      const { 'read-only': readOnly } = options
      const below = readOnly === undefined ? [] : storageNodes(target).slice(1)
      for (const one of below) {
        if (changes.get(one)?.['read-only'] === undefined) await changeNode(change, one, { 'read-only': readOnly })
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

async function changeNode(change: Change, node: Node, options: Flat): Promise<void> {
  try {
    await change.reopen(node, fromQapi(options))
  } catch (error) {
    const unknown = isBlockError(error) ? /^Invalid parameter '(.*)'$/.exec(error.message)?.[1] : undefined
    if (unknown === undefined) throw error
    const name = Object.keys(options).find((key) => key.startsWith(toKebabCase(unknown))) ?? unknown
    throw new CommandError(`Cannot change the option '${name}'`, { cause: error })
  }
}
