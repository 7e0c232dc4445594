/** QAPI: the graph of nodes. */
import type { CommandTable, TypeTable } from '../notation.ts'

export const graphTypes = {
  NewImageMode: { enum: ['existing', 'absolute-paths'] },
  XDbgBlockGraph: { struct: { nodes: ['XDbgBlockGraphNode'], edges: ['XDbgBlockGraphEdge'] } },
  XDbgBlockGraphNode: { struct: { id: 'int', type: 'XDbgBlockGraphNodeType', name: 'str' } },
  XDbgBlockGraphNodeType: { enum: ['block-backend', 'block-job', 'block-driver'] },
  XDbgBlockGraphEdge: {
    struct: { parent: 'int', child: 'int', name: 'str', perm: ['BlockPermission'], 'shared-perm': ['BlockPermission'] },
  },
  BlockPermission: { enum: ['consistent-read', 'write', 'write-unchanged', 'resize'] },
  BlockDirtyBitmapOrStr: { alternate: ['str', 'BlockDirtyBitmap'] },
  BlockDirtyBitmap: { struct: { node: 'str', name: 'str' } },
  BlockDirtyBitmapSha256: { struct: { sha256: 'str' } },
  StrOrNull: { alternate: ['str', 'null'] },
} as const satisfies TypeTable

export const graphCommands = {
  'blockdev-snapshot-sync': { data: 'BlockdevSnapshotSync' },
  'blockdev-snapshot': { data: 'BlockdevSnapshot' },
  'change-backing-file': { data: { device: 'str', 'image-node-name': 'str', 'backing-file': 'str' } },
  'query-named-block-nodes': { data: { '*flat': 'bool' }, returns: ['BlockDeviceInfo'] },
  'x-debug-query-block-graph': { returns: 'XDbgBlockGraph' },
  'block-dirty-bitmap-add': { data: 'BlockDirtyBitmapAdd' },
  'block-dirty-bitmap-remove': { data: 'BlockDirtyBitmap' },
  'block-dirty-bitmap-clear': { data: 'BlockDirtyBitmap' },
  'block-dirty-bitmap-enable': { data: 'BlockDirtyBitmap' },
  'block-dirty-bitmap-disable': { data: 'BlockDirtyBitmap' },
  'block-dirty-bitmap-merge': { data: 'BlockDirtyBitmapMerge' },
  'x-debug-block-dirty-bitmap-sha256': { data: 'BlockDirtyBitmap', returns: 'BlockDirtyBitmapSha256' },
  'blockdev-add': { data: 'BlockdevOptions', older: { options: 'BlockdevOptions' } },
  'blockdev-reopen': { data: { options: ['BlockdevOptions'] } },
  'blockdev-del': { data: { 'node-name': 'str' } },
  'block-set-write-threshold': { data: { 'node-name': 'str', 'write-threshold': 'uint64' } },
  'x-blockdev-change': { data: { parent: 'str', '*child': 'str', '*node': 'str' } },
  'x-blockdev-set-iothread': { data: { 'node-name': 'str', iothread: 'StrOrNull', '*force': 'bool' } },
  'blockdev-snapshot-internal-sync': { data: 'BlockdevSnapshotInternal' },
  'blockdev-snapshot-delete-internal-sync': {
    data: { device: 'str', '*id': 'str', '*name': 'str' },
    returns: 'SnapshotInfo',
  },
  transaction: { data: { actions: ['TransactionAction'], '*properties': 'TransactionProperties' } },
} as const satisfies CommandTable
