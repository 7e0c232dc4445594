import { BlockError, type VmState } from '@diskgraph/core'
import type { Session } from './session.ts'

/** The VM state area of the open file. ENOTSUP where the format has none. */
export function requireVmState({ node }: Session): VmState {
  const { vmState } = node.image
  if (vmState === undefined) throw new BlockError('ENOTSUP', `driver '${node.driver.name}' has no VM state`)
  return vmState
}
