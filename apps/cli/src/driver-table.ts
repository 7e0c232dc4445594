/** Written by scripts/driver-table.mjs from the package.json of each driver. */
import type { LazyDriver } from '@diskgraph/core'

/** The drivers that come with the tools. */
export const drivers: readonly LazyDriver[] = [
  {
    name: 'blkdebug',
    kind: 'filter',
    prefixes: ['blkdebug'],
    load: async () => (await import('@diskgraph/driver-blkdebug')).blkdebug,
  },
  {
    name: 'blklogwrites',
    kind: 'filter',
    load: async () => (await import('@diskgraph/driver-blklogwrites')).blklogwrites,
  },
  {
    name: 'blkverify',
    kind: 'filter',
    prefixes: ['blkverify'],
    load: async () => (await import('@diskgraph/driver-blkverify')).blkverify,
  },
  {
    name: 'bochs',
    kind: 'format',
    load: async () => (await import('@diskgraph/driver-bochs')).bochs,
  },
  {
    name: 'cache',
    kind: 'filter',
    load: async () => (await import('@diskgraph/driver-cache')).cache,
  },
  {
    name: 'cloop',
    kind: 'format',
    load: async () => (await import('@diskgraph/driver-cloop')).cloop,
  },
  {
    name: 'compress',
    kind: 'filter',
    load: async () => (await import('@diskgraph/driver-compress')).compress,
  },
  {
    name: 'copy-before-write',
    kind: 'filter',
    load: async () => (await import('@diskgraph/driver-copy-before-write')).copyBeforeWrite,
  },
  {
    name: 'copy-on-read',
    kind: 'filter',
    load: async () => (await import('@diskgraph/driver-copy-on-read')).copyOnRead,
  },
  {
    name: 'cow',
    kind: 'format',
    load: async () => (await import('@diskgraph/driver-cow')).cow,
  },
  {
    name: 'delay',
    kind: 'filter',
    load: async () => (await import('@diskgraph/driver-delay')).delay,
  },
  {
    name: 'dmg',
    kind: 'format',
    probe: (_head, filename) => (filename.endsWith('.dmg') ? 2 : 0),
    load: async () => (await import('@diskgraph/driver-dmg')).dmg,
  },
  {
    name: 'file',
    kind: 'protocol',
    prefixes: ['file'],
    load: async () => (await import('@diskgraph/driver-file')).file,
  },
  {
    name: 'ftp',
    kind: 'protocol',
    prefixes: ['ftp'],
    load: async () => (await import('@diskgraph/driver-ftp')).ftp,
  },
  {
    name: 'ftps',
    kind: 'protocol',
    prefixes: ['ftps'],
    load: async () => (await import('@diskgraph/driver-ftp')).ftps,
  },
  {
    name: 'host_cdrom',
    kind: 'protocol',
    prefixes: ['host_cdrom'],
    claimsPath: async (path) => (await (await import('@diskgraph/driver-file')).hostCdrom.claimsPath?.(path)) ?? false,
    load: async () => (await import('@diskgraph/driver-file')).hostCdrom,
  },
  {
    name: 'host_device',
    kind: 'protocol',
    prefixes: ['host_device'],
    claimsPath: async (path) => (await (await import('@diskgraph/driver-file')).hostDevice.claimsPath?.(path)) ?? false,
    load: async () => (await import('@diskgraph/driver-file')).hostDevice,
  },
  {
    name: 'host_floppy',
    kind: 'protocol',
    prefixes: ['host_floppy'],
    claimsPath: async (path) => (await (await import('@diskgraph/driver-file')).hostFloppy.claimsPath?.(path)) ?? false,
    load: async () => (await import('@diskgraph/driver-file')).hostFloppy,
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
    name: 'luks',
    kind: 'format',
    load: async () => (await import('@diskgraph/driver-luks')).luks,
  },
  {
    name: 'memory',
    kind: 'protocol',
    prefixes: ['memory'],
    load: async () => (await import('@diskgraph/driver-memory')).memory,
  },
  {
    name: 'nbd',
    kind: 'protocol',
    prefixes: ['nbd', 'nbd+tcp', 'nbd+unix'],
    load: async () => (await import('@diskgraph/driver-nbd')).nbd,
  },
  {
    name: 'null-aio',
    kind: 'protocol',
    prefixes: ['null-aio'],
    load: async () => (await import('@diskgraph/driver-null')).nullAio,
  },
  {
    name: 'null-co',
    kind: 'protocol',
    prefixes: ['null-co'],
    load: async () => (await import('@diskgraph/driver-null')).nullCo,
  },
  {
    name: 'parallels',
    kind: 'format',
    load: async () => (await import('@diskgraph/driver-parallels')).parallels,
  },
  {
    name: 'preallocate',
    kind: 'filter',
    load: async () => (await import('@diskgraph/driver-preallocate')).preallocate,
  },
  {
    name: 'qcow',
    kind: 'format',
    load: async () => (await import('@diskgraph/driver-qcow')).qcow,
  },
  {
    name: 'qcow2',
    kind: 'format',
    load: async () => (await import('@diskgraph/driver-qcow2')).qcow2,
  },
  {
    name: 'qed',
    kind: 'format',
    load: async () => (await import('@diskgraph/driver-qed')).qed,
  },
  {
    name: 'quorum',
    kind: 'filter',
    load: async () => (await import('@diskgraph/driver-quorum')).quorum,
  },
  {
    name: 'raw',
    kind: 'format',
    load: async () => (await import('@diskgraph/driver-raw')).raw,
  },
  {
    name: 's3',
    kind: 'protocol',
    prefixes: ['s3'],
    load: async () => (await import('@diskgraph/driver-s3')).s3,
  },
  {
    name: 'snapshot-access',
    kind: 'format',
    probe: () => 0,
    load: async () => (await import('@diskgraph/driver-copy-before-write')).snapshotAccess,
  },
  {
    name: 'ssh',
    kind: 'protocol',
    prefixes: ['ssh'],
    load: async () => (await import('@diskgraph/driver-ssh')).ssh,
  },
  {
    name: 'tftp',
    kind: 'protocol',
    prefixes: ['tftp'],
    load: async () => (await import('@diskgraph/driver-tftp')).tftp,
  },
  {
    name: 'throttle',
    kind: 'filter',
    load: async () => (await import('@diskgraph/driver-throttle')).throttle,
  },
  {
    name: 'vdi',
    kind: 'format',
    load: async () => (await import('@diskgraph/driver-vdi')).vdi,
  },
  {
    name: 'vhdx',
    kind: 'format',
    load: async () => (await import('@diskgraph/driver-vhdx')).vhdx,
  },
  {
    name: 'vmdk',
    kind: 'format',
    load: async () => (await import('@diskgraph/driver-vmdk')).vmdk,
  },
  {
    name: 'vpc',
    kind: 'format',
    load: async () => (await import('@diskgraph/driver-vpc')).vpc,
  },
  {
    name: 'vvfat',
    kind: 'protocol',
    prefixes: ['fat'],
    load: async () => (await import('@diskgraph/driver-vvfat')).vvfat,
  },
]
