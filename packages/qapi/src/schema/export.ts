/** QAPI: exports. */
import type { CommandTable, TypeTable } from '../notation.ts'

export const exportTypes = {
  SocketAddress: {
    struct: { type: 'SocketAddressType' },
    tag: 'type',
    variants: { inet: 'InetSocketAddress', unix: 'UnixSocketAddress', vsock: 'VsockSocketAddress', fd: 'String' },
  },
  NbdServerOptions: {
    struct: { addr: 'SocketAddress', '*tls-creds': 'str', '*tls-authz': 'str', '*max-connections': 'uint32' },
  },
  SocketAddressLegacy: {
    struct: { type: 'SocketAddressType' },
    tag: 'type',
    variants: {
      inet: 'InetSocketAddressWrapper',
      unix: 'UnixSocketAddressWrapper',
      vsock: 'VsockSocketAddressWrapper',
      fd: 'StringWrapper',
    },
  },
  SocketAddressType: { enum: ['inet', 'unix', 'vsock', 'fd'] },
  InetSocketAddressWrapper: { struct: { data: 'InetSocketAddress' } },
  InetSocketAddress: {
    struct: {
      host: 'str',
      port: 'str',
      '*numeric': 'bool',
      '*to': 'int',
      '*ipv4': 'bool',
      '*ipv6': 'bool',
      '*keep-alive': 'bool',
      '*mptcp': 'bool',
    },
  },
  UnixSocketAddressWrapper: { struct: { data: 'UnixSocketAddress' } },
  UnixSocketAddress: { struct: { path: 'str', '*abstract': 'bool', '*tight': 'bool' } },
  VsockSocketAddressWrapper: { struct: { data: 'VsockSocketAddress' } },
  VsockSocketAddress: { struct: { cid: 'str', port: 'str' } },
  StringWrapper: { struct: { data: 'String' } },
  String: { struct: { str: 'str' } },
  BlockExportRemoveMode: { enum: ['safe', 'hard'] },
  BlockExportOptions: {
    struct: {
      type: 'BlockExportType',
      id: 'str',
      '*fixed-iothread': 'bool',
      '*iothread': 'str',
      'node-name': 'str',
      '*writable': 'bool',
      '*writethrough': 'bool',
    },
    tag: 'type',
    variants: { nbd: 'BlockExportOptionsNbd' },
  },
  BlockExportType: { enum: ['nbd'] },
  BlockExportOptionsNbd: {
    struct: {
      '*name': 'str',
      '*description': 'str',
      '*bitmaps': ['BlockDirtyBitmapOrStr'],
      '*allocation-depth': 'bool',
    },
  },
  BlockExportInfo: { struct: { id: 'str', type: 'BlockExportType', 'node-name': 'str', 'shutting-down': 'bool' } },
} as const satisfies TypeTable

export const exportCommands = {
  'nbd-server-start': {
    data: { addr: 'SocketAddressLegacy', '*tls-creds': 'str', '*tls-authz': 'str', '*max-connections': 'uint32' },
  },
  'nbd-server-add': {
    data: { '*name': 'str', '*description': 'str', device: 'str', '*writable': 'bool', '*bitmap': 'str' },
  },
  'nbd-server-remove': { data: { name: 'str', '*mode': 'BlockExportRemoveMode' } },
  'nbd-server-stop': {},
  'block-export-add': { data: 'BlockExportOptions' },
  'block-export-del': { data: { id: 'str', '*mode': 'BlockExportRemoveMode' } },
  'query-block-exports': { returns: ['BlockExportInfo'] },
} as const satisfies CommandTable
