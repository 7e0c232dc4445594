import { BlockError, type Disk, type VmState } from '@diskgraph/core'

/** The VM state area of a disk. ENOTSUP where the format has none. */
export function requireVmState(disk: Disk): VmState {
  const { vmState } = disk.node.image
  if (vmState === undefined) throw new BlockError('ENOTSUP', `driver '${disk.node.driver.name}' has no VM state`)
  return vmState
}
