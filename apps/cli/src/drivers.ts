/**
 * The drivers that the tools have. Each is loaded when it is first used, so `probe` and the prefixes of file names,
 * which are needed to find out, stand here as well. Users enable others: see `driver-packages.ts`.
 */
import { type DriverDescriptor, isBlockError, type LazyDriver } from '@diskgraph/core'
import type { Terminal } from './terminal.ts'

/** A driver that comes with the tools, and what listings say of it before it is loaded. */
export const drivers: readonly LazyDriver[] = [
  {
    name: 'file',
    kind: 'protocol',
    prefixes: ['file'],
    load: async () => (await import('@diskgraph/driver-file')).file,
  },
  {
    name: 'host_device',
    kind: 'protocol',
    prefixes: ['host_device'],
    load: async () => (await import('@diskgraph/driver-file')).hostDevice,
  },
  { name: 'raw', kind: 'format', probe: () => 1, load: async () => (await import('@diskgraph/driver-raw')).raw },
  {
    name: 'qcow2',
    kind: 'format',
    probe: probeQcow2,
    load: async () => (await import('@diskgraph/driver-qcow2')).qcow2,
  },
  {
    name: 'memory',
    kind: 'protocol',
    prefixes: ['memory'],
    load: async () => (await import('@diskgraph/driver-memory')).memory,
  },
  {
    name: 'null-co',
    kind: 'protocol',
    prefixes: ['null-co'],
    load: async () => (await import('@diskgraph/driver-null')).nullCo,
  },
  {
    name: 'null-aio',
    kind: 'protocol',
    prefixes: ['null-aio'],
    load: async () => (await import('@diskgraph/driver-null')).nullAio,
  },
  {
    name: 'http',
    kind: 'protocol',
    prefixes: ['http'],
    load: async () => (await import('@diskgraph/driver-http')).http,
  },
  {
    name: 'https',
    kind: 'protocol',
    prefixes: ['https'],
    load: async () => (await import('@diskgraph/driver-http')).https,
  },
  {
    name: 'blkdebug',
    kind: 'filter',
    prefixes: ['blkdebug'],
    load: async () => (await import('@diskgraph/driver-blkdebug')).blkdebug,
  },
  {
    name: 'quorum',
    kind: 'filter',
    load: async () => (await import('@diskgraph/driver-quorum')).quorum,
  },
]

/** `QFI\xfb` and a version of 2 or more (qcow2 specification, header). */
function probeQcow2(head: Uint8Array): number {
  if (head.length < 8) return 0
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength)
  return view.getUint32(0) === 0x514649fb && view.getUint32(4) >= 2 ? 100 : 0
}

/** Names that people use for formats. */
export const formatAliases: Readonly<Record<string, string>> = { vhd: 'vpc', img: 'raw', hdd: 'parallels' }

/** The drivers that come with the tools and those that the user has enabled, which go before others of their name. */
export function usableDrivers({ enabled = [] }: Pick<Terminal, 'enabled'>): (LazyDriver | DriverDescriptor)[] {
  const names = new Set(enabled.map(({ name }) => name))
  return [...drivers.filter(({ name }) => !names.has(name)), ...enabled]
}

/** Whether `error` says that there is no driver of the name that was asked for. */
export function isUnknownDriver(error: unknown): boolean {
  return isBlockError(error) && error.message.startsWith('Unknown driver ')
}
