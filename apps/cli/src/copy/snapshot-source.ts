/** Reading an internal snapshot instead of the disk. */
import { type Disk, isBlockError, type SnapshotInfo } from '@diskgraph/core'
import { parseKeyValues, toObject } from '../key-values.ts'
import { CommandError, messageOf } from '../messages.ts'

/**
 * Makes `disk` show the snapshot that `wanted` names: an id, a name, or `snapshot.id=…,snapshot.name=…`.
 * @throws CommandError `Failed to load snapshot: …`
 */
export async function loadSnapshot(disk: Disk, wanted: string): Promise<void> {
  const { snapshots, driver } = { snapshots: disk.node.image.snapshots, driver: disk.node.driver }
  if (snapshots === undefined) {
    const reason = `Block format '${driver.name}' used by device '' does not support temporarily loading internal snapshots`
    throw new CommandError(`Failed to load snapshot: ${reason}`)
  }
  const found = findSnapshot(snapshots.list(), wanted)
  if (found === undefined) throw new CommandError("Failed to load snapshot: Can't find snapshot")
  try {
    await disk.snapshots.load(found.id)
  } catch (error) {
    if (!isBlockError(error)) throw error
    throw new CommandError(`Failed to load snapshot: ${messageOf(error)}`, { cause: error })
  }
}

function findSnapshot(list: readonly SnapshotInfo[], wanted: string): SnapshotInfo | undefined {
  if (!wanted.startsWith('snapshot.')) {
    return list.find(({ id }) => id === wanted) ?? list.find(({ name }) => name === wanted)
  }
  const { 'snapshot.id': id, 'snapshot.name': name } = toObject(parseKeyValues(wanted))
  if (id === undefined && name === undefined) return undefined
  return list.find((one) => (id === undefined || one.id === id) && (name === undefined || one.name === name))
}
