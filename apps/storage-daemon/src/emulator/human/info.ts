/** `info`: the state of things as text. */
import { BlockError, type SnapshotInfo } from '@diskgraph/core'
import type { ReturnOf, TypeOf } from '@diskgraph/qapi'
import { snapshotTable } from '@diskgraph/tools'
import { blockText, imagesText } from './block-text.ts'
import { deviceTree } from './device-tree.ts'
import type { HumanCommand, HumanSystem } from './system.ts'

/** The commands behind `info`. */
export const infoCommands: Readonly<Record<string, HumanCommand>> = {
  block: {
    usage: '[-n] [-v] [device]',
    summary: 'show devices, or with -n nodes; -v: their images, too',
    flags: 'nv',
    takes: 'B?',
    run: async (system, { words: [only], flags, tell }) => {
      if (flags.has('n')) await tellNodes(system, only, flags.has('v'), tell)
      else await tellDevices(system, only, flags.has('v'), tell)
    },
  },
  'block-jobs': {
    usage: '',
    summary: 'show how far jobs have come',
    takes: '',
    run: async ({ monitor }, { tell }) => {
      tell(jobLines((await monitor.execute('query-block-jobs', {})) as ReturnOf<'query-block-jobs'>))
    },
  },
  blockstats: {
    usage: '',
    summary: 'show the figures of devices',
    takes: '',
    run: async ({ monitor }, { tell }) => {
      const all = (await monitor.execute('query-blockstats', {})) as ReturnOf<'query-blockstats'>
      for (const { device, qdev, stats } of all) tell(`${device || qdev || ''}: ${figures(stats)}\n`)
    },
  },
  iothreads: {
    usage: '',
    summary: 'show I/O threads',
    takes: '',
    run: async ({ monitor }, { tell }) => {
      const all = (await monitor.execute('query-iothreads', {})) as ReturnOf<'query-iothreads'>
      for (const { id, ...values } of all) {
        tell(`${id}:\n`)
        for (const name of ['thread-id', 'poll-max-ns', 'poll-grow', 'poll-shrink', 'aio-max-batch'] as const) {
          tell(`  ${name.replaceAll('-', '_')}=${values[name]}\n`)
        }
      }
    },
  },
  name: {
    usage: '',
    summary: 'show the name of the machine',
    takes: '',
    run: async ({ monitor }, { tell }) => {
      const { name } = (await monitor.execute('query-name', {})) as ReturnOf<'query-name'>
      if (name !== undefined) tell(`${name}\n`)
    },
  },
  qtree: {
    usage: '',
    summary: 'show the devices of the machine',
    takes: '',
    run: ({ models }, { tell }) => tell(deviceTree(models.list())),
  },
  snapshots: { usage: '', summary: 'show snapshots inside of images', takes: '', run: tellSnapshots },
  status: {
    usage: '',
    summary: 'show whether the guest runs',
    takes: '',
    run: ({ devices }, { tell }) => {
      const { status, running } = devices.runState
      tell(`VM status: ${running ? 'running' : `paused${status === 'paused' ? '' : ` (${status})`}`}\n`)
    },
  },
  uuid: {
    usage: '',
    summary: 'show the UUID of the machine',
    takes: '',
    run: async ({ monitor }, { tell }) => {
      tell(`${((await monitor.execute('query-uuid', {})) as ReturnOf<'query-uuid'>).UUID}\n`)
    },
  },
  version: {
    usage: '',
    summary: 'show the version',
    takes: '',
    run: ({ monitor: { version } }, { tell }) => {
      const { major, minor, micro } = version.qemu
      tell(`${major}.${minor}.${micro}${version.package}\n`)
    },
  },
}

async function tellDevices(
  { monitor, graph }: HumanSystem,
  only: string | undefined,
  isDetailed: boolean,
  tell: (text: string) => void,
): Promise<void> {
  const devices = (await monitor.execute('query-block', {})) as TypeOf<'BlockInfo'>[]
  for (const [i, device] of devices.entries()) {
    if (only !== undefined && device.device !== only) continue
    if (i > 0) tell('\n')
    tell(blockText(device, device.inserted))
    const node = graph.find(device.inserted?.['node-name'] ?? '')
    if (isDetailed && node !== undefined) tell(await imagesText(node))
  }
  if (only === undefined || devices.some(({ device }) => device === only)) return
  await tellNodes({ monitor, graph }, only, isDetailed, tell)
}

async function tellNodes(
  { monitor, graph }: Pick<HumanSystem, 'monitor' | 'graph'>,
  only: string | undefined,
  isDetailed: boolean,
  tell: (text: string) => void,
): Promise<void> {
  const nodes = (await monitor.execute('query-named-block-nodes', {})) as TypeOf<'BlockDeviceInfo'>[]
  for (const [i, info] of nodes.entries()) {
    if (only !== undefined && info['node-name'] !== only) continue
    if (i > 0) tell('\n')
    tell(blockText(undefined, info))
    const node = graph.find(info['node-name'] ?? '')
    if (isDetailed && node !== undefined) tell(await imagesText(node))
  }
}

function jobLines(jobs: ReturnOf<'query-block-jobs'>): string {
  if (jobs.length === 0) return 'No active jobs\n'
  const lines = jobs.map(({ type, device, offset, len, speed }) => {
    const what = type === 'stream' ? 'Streaming device' : `Type ${type}, device`
    return `${what} ${device}: Completed ${offset} of ${len} bytes, speed limit ${speed} bytes/s\n`
  })
  return lines.join('')
}

const figureNames = [
  ...(['rd_bytes', 'wr_bytes', 'rd_operations', 'wr_operations', 'flush_operations'] as const),
  ...(['wr_total_time_ns', 'rd_total_time_ns', 'flush_total_time_ns', 'rd_merged', 'wr_merged'] as const),
  'idle_time_ns',
] as const

function figures(stats: TypeOf<'BlockDeviceStats'>): string {
  return figureNames.map((name) => `${name}=${stats[name] ?? 0}`).join(' ')
}

/** Those that all disks have by the same name come first; the others by disk. */
function tellSnapshots({ devices }: HumanSystem, { tell }: { tell(text: string): void }): void {
  const disks = [...devices].flatMap(({ id, node }) =>
    node?.image.snapshots === undefined || node.readOnly ? [] : [{ id, snapshots: node.image.snapshots.list() }],
  )
  const [first, ...others] = disks
  if (first === undefined) throw new BlockError('ENOTSUP', 'No block device can accept snapshots')
  if (disks.every(({ snapshots }) => snapshots.length === 0)) {
    tell('There is no snapshot available.\n')
    return
  }
  const isShared = ({ name }: SnapshotInfo): boolean =>
    others.every(({ snapshots }) => snapshots.some((one) => one.name === name))
  tell('List of snapshots present on all disks:\n')
  const shared = first.snapshots.filter(isShared)
  // An id of one disk says nothing of the others.
  tell(shared.length === 0 ? 'None\n' : rows(shared.map((one) => ({ ...one, id: '--' }))))
  for (const { id, snapshots } of disks) {
    const partial = snapshots.filter(({ name }) => !shared.some((one) => one.name === name))
    if (partial.length > 0) tell(`\nList of partial (non-loadable) snapshots on '${id}':\n${rows(partial)}`)
  }
}

function rows(snapshots: readonly SnapshotInfo[]): string {
  return [...snapshotTable(snapshots)].join('').replace(/^Snapshot list:\n/, '')
}
