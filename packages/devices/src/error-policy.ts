/** What a device does with an error of its storage. */

import { BlockError, type ErrorCode } from '@diskgraph/core'

/** `enospc`: stop when the storage is full, report others. `auto`: `enospc` for writes, `report` for reads. */
export type ErrorPolicy = 'report' | 'ignore' | 'stop' | 'enospc' | 'auto'

/** What is done with one error. */
export type ErrorAction = 'report' | 'ignore' | 'stop'

/** Policies of a device. Default: `auto`. */
export interface ErrorPolicies {
  readonly rerror: ErrorPolicy
  readonly werror: ErrorPolicy
}

const policies: readonly ErrorPolicy[] = ['report', 'ignore', 'stop', 'enospc', 'auto']

/** Policies with defaults. EINVAL for those that are none. */
export function errorPolicies(given: Partial<ErrorPolicies>): ErrorPolicies {
  const { rerror = 'auto', werror = 'auto' } = given
  if (!policies.includes(rerror) || rerror === 'enospc') {
    throw new BlockError('EINVAL', `'${String(rerror)}' invalid read error action`)
  }
  if (!policies.includes(werror)) throw new BlockError('EINVAL', `'${String(werror)}' invalid write error action`)
  return { rerror, werror }
}

/** What `policies` say of `code`, the error of a read or of a change. */
export function errorAction(
  { rerror, werror }: ErrorPolicies,
  operation: 'read' | 'write',
  code: ErrorCode,
): ErrorAction {
  const policy = operation === 'read' ? rerror : werror
  switch (policy) {
    case 'report':
    case 'ignore':
    case 'stop':
      return policy
    case 'enospc':
      return code === 'ENOSPC' ? 'stop' : 'report'
    case 'auto':
      return operation === 'write' && code === 'ENOSPC' ? 'stop' : 'report'
  }
}

/** Whether an error may stop the guests. */
export function mayStop({ rerror, werror }: ErrorPolicies): boolean {
  return rerror === 'stop' || werror === 'stop' || werror === 'enospc' || werror === 'auto'
}
