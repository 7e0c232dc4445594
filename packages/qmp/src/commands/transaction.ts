/** `transaction`: several actions, of which all happen or none. */
import { BlockError } from '@diskgraph/core'
import { JobTransaction } from '@diskgraph/jobs'
import type { TypeOf } from '@diskgraph/qapi'
import type { System } from '../system.ts'
import { type Action, runActions } from './action.ts'
import { addBitmap, clearBitmap, enableBitmap, mergeBitmaps, removeBitmap } from './bitmaps.ts'
import type { Handlers } from './handlers.ts'
import { backupTarget, type OpenedTarget } from './job-targets.ts'
import { backup, driveBackup } from './jobs.ts'
import { internalAction, newOverlayAction, overlayAction } from './snapshots.ts'

/** `transaction`. */
export function transactionCommands(system: System): Handlers {
  return {
    transaction: ({ actions, properties }) => {
      const isGrouped = properties?.['completion-mode'] === 'grouped'
      const together = isGrouped ? new JobTransaction() : undefined
      return runActions(
        system,
        actions.map((action) => actionOf(system, action, together)),
      )
    },
  }
}

function actionOf(system: System, action: TypeOf<'TransactionAction'>, together: JobTransaction | undefined): Action {
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
    case 'blockdev-backup':
      return backupAction(system, action.data, together)
    case 'drive-backup':
      return newBackupAction(system, action.data, together)
  }
}

function backupAction(system: System, args: TypeOf<'BlockdevBackup'>, transaction: JobTransaction | undefined): Action {
  return {
    stage: async (change) => {
      const device = system.findEither(args.device)
      await backup(system, args, device, system.findEither(args.target), { change, transaction })
    },
  }
}

function newBackupAction(system: System, args: TypeOf<'DriveBackup'>, transaction: JobTransaction | undefined): Action {
  let target: OpenedTarget | undefined
  return {
    prepare: async () => {
      target = await backupTarget(system, system.findRoot(args.device), args)
    },
    stage: async (change) => {
      const device = system.findRoot(args.device)
      await driveBackup(system, args, device, (target as OpenedTarget).node, { change, transaction })
    },
    finish: async () => target?.letGo(),
  }
}
