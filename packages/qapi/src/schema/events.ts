/** QAPI: events. */
import type { EventTable } from '../notation.ts'

export const events = {
  SHUTDOWN: { guest: 'bool', reason: 'ShutdownCause' },
  POWERDOWN: {},
  RESET: { guest: 'bool', reason: 'ShutdownCause' },
  STOP: {},
  RESUME: {},
  DEVICE_TRAY_MOVED: { device: 'str', id: 'str', 'tray-open': 'bool' },
  BLOCK_IMAGE_CORRUPTED: {
    device: 'str',
    '*node-name': 'str',
    msg: 'str',
    '*offset': 'int',
    '*size': 'int',
    fatal: 'bool',
  },
  BLOCK_IO_ERROR: {
    device: 'str',
    '*node-name': 'str',
    operation: 'IoOperationType',
    action: 'BlockErrorAction',
    '*nospace': 'bool',
    reason: 'str',
  },
  BLOCK_JOB_COMPLETED: { type: 'JobType', device: 'str', len: 'int', offset: 'int', speed: 'int', '*error': 'str' },
  BLOCK_JOB_CANCELLED: { type: 'JobType', device: 'str', len: 'int', offset: 'int', speed: 'int' },
  BLOCK_JOB_ERROR: { device: 'str', operation: 'IoOperationType', action: 'BlockErrorAction' },
  BLOCK_JOB_READY: { type: 'JobType', device: 'str', len: 'int', offset: 'int', speed: 'int' },
  BLOCK_JOB_PENDING: { type: 'JobType', id: 'str' },
  BLOCK_WRITE_THRESHOLD: { 'node-name': 'str', 'amount-exceeded': 'int', 'write-threshold': 'uint64' },
  QUORUM_FAILURE: { reference: 'str', 'sector-num': 'int', 'sectors-count': 'int' },
  QUORUM_REPORT_BAD: {
    type: 'QuorumOpType',
    '*error': 'str',
    'node-name': 'str',
    'sector-num': 'int',
    'sectors-count': 'int',
  },
  JOB_STATUS_CHANGE: { id: 'str', status: 'JobStatus' },
  BLOCK_EXPORT_DELETED: { id: 'str' },
  DEVICE_DELETED: { '*device': 'str', path: 'str' },
} as const satisfies EventTable
