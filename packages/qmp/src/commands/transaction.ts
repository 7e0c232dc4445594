/** `transaction`: several actions, of which all happen or none. */
import { BlockError } from '@diskgraph/core'
import type { TypeOf } from '@diskgraph/qapi'
import type { System } from '../system.ts'
import { type Action, runActions } from './action.ts'
import { addBitmap, clearBitmap, enableBitmap, mergeBitmaps, removeBitmap } from './bitmaps.ts'
import type { Handlers } from './handlers.ts'
import { internalAction, newOverlayAction, overlayAction } from './snapshots.ts'

/** `transaction`. */
export function transactionCommands(system: System): Handlers {
  return {
    transaction: ({ actions }) =>
      runActions(
        system,
        actions.map((action) => actionOf(system, action)),
      ),
  }
}

function actionOf(system: System, action: TypeOf<'TransactionAction'>): Action {
  switch (action.type) {
    case 'abort':
      return {
        stage: () => {
          throw new BlockError('ECANCELED', 'Transaction aborted using Abort action')
        },
      }
    case 'blockdev-snapshot':
      return overlayAction(system, action.data)
    case 'blockdev-snapshot-sync':
      return newOverlayAction(system, action.data)
    case 'blockdev-snapshot-internal-sync':
      return internalAction(system, action.data)
    case 'block-dirty-bitmap-add':
      return addBitmap(system, action.data)
    case 'block-dirty-bitmap-remove':
      return removeBitmap(system, action.data)
    case 'block-dirty-bitmap-clear':
      return clearBitmap(system, action.data)
    case 'block-dirty-bitmap-enable':
      return enableBitmap(system, action.data, true)
    case 'block-dirty-bitmap-disable':
      return enableBitmap(system, action.data, false)
    case 'block-dirty-bitmap-merge':
      return mergeBitmaps(system, action.data)
    default:
      throw new BlockError('ENOTSUP', `the action '${action.type}' needs jobs, which this program has not`)
  }
}
