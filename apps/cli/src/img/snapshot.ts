/** `snapshot`: lists, takes, applies and deletes internal snapshots. */

import { type Disk, isBlockError } from '@diskgraph/core'
import { CommandError, errnoText, snapshotTable, type Terminal, UsageError } from '@diskgraph/tools'
import type { Command } from '../command.ts'
import { CommandLine } from '../command-line.ts'
import { ImageOptions, imageGrammar, shareGrammar } from '../image-options.ts'
import { openImage, withGraph } from '../opening.ts'

const grammar = {
  ...imageGrammar,
  ...shareGrammar,
  list: { short: 'l', description: 'list the snapshots' },
  create: { short: 'c', argument: 'NAME', description: 'take a snapshot' },
  apply: { short: 'a', argument: 'NAME', description: 'go back to a snapshot' },
  delete: { short: 'd', argument: 'NAME', description: 'delete a snapshot' },
  quiet: { short: 'q', description: 'print errors only' },
} as const

type Action = 'list' | 'create' | 'apply' | 'delete'

const pastTense = { list: 'Listed', create: 'Created', apply: 'Applied', delete: 'Deleted' } as const

/** Does what one of `-l -c -a -d` says. Without one people get the list; QEMU only opens the image. */
export const snapshot: Command = {
  group: 'change',
  summary: 'take, apply, delete and list snapshots',
  operands: 'FILE',
  options: grammar,
  examples: [
    ['snapshot -c now disk.qcow2', 'take one'],
    ['snapshot -l disk.qcow2', 'list them'],
    ['snapshot -a before disk.qcow2', 'go back'],
    ['snapshot -d before disk.qcow2', 'delete one'],
  ],
  async run(words: readonly string[], terminal: Terminal): Promise<number> {
    const options = new ImageOptions()
    let action: Action | undefined
    let name = ''
    let quiet = false
    const line = new CommandLine(grammar, words)
    for (const option of line) {
      if (option.name === 'quiet') quiet = true
      if (option.name === 'quiet' || options.take(option)) continue
      if (action !== undefined) throw new UsageError("Cannot mix '-l', '-a', '-c', '-d'")
      action = option.name as Action
      name = option.value
    }
    const filename = options.oneFilename(line.operands)
    const writable = action !== 'list' && !(action === undefined && terminal.forPeople)
    const request = { ...options.opening, filename, writable, signal: terminal.signal }
    await withGraph(terminal, options.objects, async (graph) => {
      const disk = await openImage(graph, request)
      await perform(disk, action ?? (terminal.forPeople ? 'list' : undefined), name, terminal)
      await disk.close()
    })
    if (terminal.forPeople && !quiet && writable) terminal.out(`${pastTense[action as Action]} snapshot '${name}'\n`)
    return 0
  },
}

async function perform(disk: Disk, action: Action | undefined, name: string, terminal: Terminal): Promise<void> {
  if (action === 'list') {
    for (const piece of snapshotTable(disk.node.image.snapshots?.list() ?? [])) terminal.out(piece)
  } else if (action === 'create') await take(disk, name)
  else if (action === 'apply') await revert(disk, name)
  else if (action === 'delete') await remove(disk, name, terminal.forPeople)
}

async function take(disk: Disk, name: string): Promise<void> {
  try {
    const now = Date.now()
    const dateSeconds = Math.floor(now / 1000)
    await disk.snapshots.create({ name, dateSeconds, dateNanoseconds: (now % 1000) * 1e6, icount: 0 })
  } catch (error) {
    const number = isBlockError(error) ? errnoNumbers[error.code] : undefined
    throw new CommandError(`Could not create snapshot '${name}': -${number ?? 5} (${errnoText(error)})`, {
      cause: error,
    })
  }
}

/** Linux's numbers of the errors that taking a snapshot ends in; QEMU prints them. */
const errnoNumbers: Readonly<Record<string, number>> = {
  EPERM: 1,
  EIO: 5,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  EINVAL: 22,
  EFBIG: 27,
  ENOSPC: 28,
  EROFS: 30,
  ENOTSUP: 95,
  ECANCELED: 125,
}

async function revert(disk: Disk, name: string): Promise<void> {
  try {
    if (disk.node.image.snapshots === undefined) throw new CommandError('Block driver does not support snapshots')
    await disk.snapshots.apply(name)
  } catch (error) {
    const told = isBlockError(error) && error.code !== 'EBUSY'
    const reason = told ? `Failed to load snapshot: ${errnoText(error)}` : (error as Error).message
    throw new CommandError(`Could not apply snapshot '${name}': ${reason}`, { cause: error })
  }
}

/** Deletes by name; by id only where that is wanted, as QEMU's tool does not. */
async function remove(disk: Disk, name: string, byId: boolean): Promise<void> {
  const attempt = `Could not delete snapshot '${name}'`
  const list = disk.node.image.snapshots?.list() ?? []
  const found = list.find((one) => one.name === name) ?? (byId ? list.find(({ id }) => id === name) : undefined)
  if (found === undefined) throw new CommandError(`${attempt}: snapshot not found`)
  try {
    await disk.snapshots.delete(found.id)
  } catch (error) {
    throw new CommandError(`${attempt}: ${errnoText(error)}`, { cause: error })
  }
}
