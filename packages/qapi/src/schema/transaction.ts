/** QAPI: transactions. */
import type { TypeTable } from '../notation.ts'

/** What both kinds of backup take. */
const backup = {
  '*job-id': 'str',
  device: 'str',
  sync: 'MirrorSyncMode',
  '*speed': 'int',
  '*bitmap': 'str',
  '*bitmap-mode': 'BitmapSyncMode',
  '*compress': 'bool',
  '*on-source-error': 'BlockdevOnError',
  '*on-target-error': 'BlockdevOnError',
  '*auto-finalize': 'bool',
  '*auto-dismiss': 'bool',
  '*filter-node-name': 'str',
  '*x-perf': 'BackupPerf',
} as const

export const transactionTypes = {
  TransactionAction: {
    struct: { type: 'TransactionActionKind' },
    tag: 'type',
    variants: {
      abort: 'AbortWrapper',
      'block-dirty-bitmap-add': 'BlockDirtyBitmapAddWrapper',
      'block-dirty-bitmap-remove': 'BlockDirtyBitmapWrapper',
      'block-dirty-bitmap-clear': 'BlockDirtyBitmapWrapper',
      'block-dirty-bitmap-enable': 'BlockDirtyBitmapWrapper',
      'block-dirty-bitmap-disable': 'BlockDirtyBitmapWrapper',
      'block-dirty-bitmap-merge': 'BlockDirtyBitmapMergeWrapper',
      'blockdev-backup': 'BlockdevBackupWrapper',
      'blockdev-snapshot': 'BlockdevSnapshotWrapper',
      'blockdev-snapshot-internal-sync': 'BlockdevSnapshotInternalWrapper',
      'blockdev-snapshot-sync': 'BlockdevSnapshotSyncWrapper',
      'drive-backup': 'DriveBackupWrapper',
    },
  },
  TransactionActionKind: {
    enum: [
      'abort',
      'block-dirty-bitmap-add',
      'block-dirty-bitmap-remove',
      'block-dirty-bitmap-clear',
      'block-dirty-bitmap-enable',
      'block-dirty-bitmap-disable',
      'block-dirty-bitmap-merge',
      'blockdev-backup',
      'blockdev-snapshot',
      'blockdev-snapshot-internal-sync',
      'blockdev-snapshot-sync',
      'drive-backup',
    ],
  },
  AbortWrapper: { struct: { data: 'Abort' } },
  Abort: { struct: {} },
  BlockDirtyBitmapAddWrapper: { struct: { data: 'BlockDirtyBitmapAdd' } },
  BlockDirtyBitmapAdd: {
    struct: { node: 'str', name: 'str', '*granularity': 'uint32', '*persistent': 'bool', '*disabled': 'bool' },
  },
  BlockDirtyBitmapWrapper: { struct: { data: 'BlockDirtyBitmap' } },
  BlockDirtyBitmapMergeWrapper: { struct: { data: 'BlockDirtyBitmapMerge' } },
  BlockDirtyBitmapMerge: { struct: { node: 'str', target: 'str', bitmaps: ['BlockDirtyBitmapOrStr'] } },
  BlockdevBackupWrapper: { struct: { data: 'BlockdevBackup' } },
  BlockdevBackup: {
    struct: {
      ...backup,
      target: 'str',
    },
  },
  BlockdevSnapshotWrapper: { struct: { data: 'BlockdevSnapshot' } },
  BlockdevSnapshot: { struct: { node: 'str', overlay: 'str' } },
  BlockdevSnapshotInternalWrapper: { struct: { data: 'BlockdevSnapshotInternal' } },
  BlockdevSnapshotInternal: { struct: { device: 'str', name: 'str' } },
  BlockdevSnapshotSyncWrapper: { struct: { data: 'BlockdevSnapshotSync' } },
  BlockdevSnapshotSync: {
    struct: {
      '*device': 'str',
      '*node-name': 'str',
      'snapshot-file': 'str',
      '*snapshot-node-name': 'str',
      '*format': 'str',
      '*mode': 'NewImageMode',
    },
  },
  DriveBackupWrapper: { struct: { data: 'DriveBackup' } },
  DriveBackup: {
    struct: {
      ...backup,
      target: 'str',
      '*format': 'str',
      '*mode': 'NewImageMode',
    },
  },
  TransactionProperties: { struct: { '*completion-mode': 'ActionCompletionMode' } },
  ActionCompletionMode: { enum: ['individual', 'grouped'] },
} as const satisfies TypeTable
