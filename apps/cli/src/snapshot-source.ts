/** `-l`: an internal snapshot as the source of a command. */

import { type Disk, isBlockError } from '@diskgraph/core'
import { CommandError, messageOf, reportError, type Terminal } from '@diskgraph/tools'
import { parseKeyValues, toObject } from './key-values.ts'

/**
 * Makes the open, read-only `disk` show a snapshot. `wanted` is an id or a name, or says which it is:
 * `snapshot.id=…,snapshot.name=…`.
 * @throws CommandError `Failed to load snapshot: …`
 */
export async function loadSnapshot(disk: Disk, wanted: string): Promise<void> {
  const { snapshots } = disk.node.image
  if (snapshots === undefined) {
    const { driver, name } = disk.node
    const reason = `Block format '${driver.name}' used by device '' does not support temporarily loading internal snapshots`
    throw new CommandError(`Failed to load snapshot: ${reason}`, { hint: `the node is called '${name}'` })
  }
  const idOrName = wanted.startsWith('snapshot.') ? selected(disk, wanted) : wanted
  const found =
    snapshots.list().find((one) => one.id === idOrName) ?? snapshots.list().find((one) => one.name === idOrName)
  if (idOrName === undefined || found === undefined) {
    throw new CommandError("Failed to load snapshot: Can't find snapshot")
  }
  try {
    await disk.snapshots.load(found.id)
  } catch (error) {
    if (!isBlockError(error)) throw error
    throw new CommandError(`Failed to load snapshot: ${messageOf(error)}`, { cause: error })
  }
}

/**
 * Which snapshot `text` asks for, as it is.
 * @throws CommandError for a list of options with one that there is not.
 */
export function snapshotArgument(text: string, terminal: Terminal): string {
  if (!text.startsWith('snapshot.')) return text
  const unknown = parseKeyValues(text).find(({ key }) => key !== 'snapshot.id' && key !== 'snapshot.name')
  if (unknown === undefined) return text
  reportError(terminal, `Invalid parameter '${unknown.key}'`)
  throw new CommandError(`Failed in parsing snapshot param '${text}'`)
}

/** The id of the snapshot that has the id and the name that are given. */
function selected(disk: Disk, text: string): string | undefined {
  const { 'snapshot.id': id, 'snapshot.name': name } = toObject(parseKeyValues(text))
  const fits = (one: { id: string; name: string }): boolean =>
    (id === undefined || one.id === id) && (name === undefined || one.name === name)
  return disk.node.image.snapshots?.list().find(fits)?.id
}
