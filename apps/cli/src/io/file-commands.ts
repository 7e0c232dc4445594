/** `open`, `close` and `reopen`. */
import { Permission } from '@diskgraph/core'
import {
  CommandError,
  type CommandWords,
  type IoCommand,
  messageOf,
  type ReopenRequest,
  reopenCommand,
  reopenNode,
  type Session,
  WrongUsage,
} from '@diskgraph/tools'
import { OpenMode, openFile } from './open-file.ts'

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
    if (session.imageOpts && words.has('o')) throw new CommandError("--image-opts and 'open -o' are mutually exclusive")
    if (extra !== undefined || (filename === undefined && words.values('o').length === 0 && !hasAny(words))) {
      throw new WrongUsage()
    }
    if (filename !== undefined && session.imageOpts) mode.addOptions(filename, session)
    await openFile(session, session.imageOpts ? undefined : filename, mode)
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

export const reopen: IoCommand = reopenCommand(changeFile)

/**
 * Changes the open file. A root that may write stands against a read-only node, so for `-r` it is given up first and
 * taken again last.
 */
async function changeFile(session: Session, request: ReopenRequest): Promise<void> {
  const { graph } = session
  const { readOnly, cache } = request
  const file = session.file as NonNullable<Session['file']>
  const { node, disk } = file
  const top = disk.node
  if (readOnly && top !== node) {
    throw new CommandError(`Can't set node '${node.name}' to r/o with copy-on-read enabled`)
  }
  const holder = await graph.attach(top, { permissions: Permission.ConsistentRead })
  if (readOnly === true) await disk.close()
  try {
    await reopenNode(graph, node, request)
  } catch (error) {
    throw new CommandError(messageOf(error), { cause: error })
  } finally {
    if (readOnly !== true) await file.disk.close()
    const writethrough = cache === undefined ? {} : { writethrough: cache.writethrough }
    session.file = { ...file, disk: await graph.attach(top, writethrough) }
    await holder.close()
  }
}
