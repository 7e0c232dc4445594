/** The commands of the human monitor: words of a line become calls of QMP's commands, or of the emulator's own. */
import { BlockError, type Graph, isBlockError } from '@diskgraph/core'
import type { DeviceTable, Medium } from '@diskgraph/devices'
import { commit } from '@diskgraph/jobs'
import { parseKeyval, type TypeOf } from '@diskgraph/qapi'
import type { Monitor } from '@diskgraph/qmp'
import { messageOf } from '@diskgraph/tools'
import { blockText, imagesText } from './block-text.ts'
import { parseDrive } from './drive-options.ts'
import type { Drives } from './drives.ts'
import type { Models } from './models.ts'
import type { QemuIo } from './qemu-io.ts'
import { sizeInMebibytes, splitWords, takeFlags } from './words.ts'

/** What the commands work on. */
interface HumanSystem {
  readonly graph: Graph
  readonly devices: DeviceTable
  readonly drives: Drives
  readonly models: Models
  readonly qemuIo: QemuIo
  readonly monitor: Monitor
}

/** A command: what runs it, on the words behind its name, and what help says. */
interface HumanCommand {
  readonly usage: string
  readonly summary: string
  /** How many words it needs at least, flags not counted. */
  readonly minimum?: number
  run(system: HumanSystem, words: readonly string[], tell: (text: string) => void): Promise<unknown> | unknown
}

/** Runs a line and resolves with what it tells. It does not reject: errors are told, too. */
export async function runHuman(system: HumanSystem, line: string): Promise<string> {
  let told = ''
  const tell = (text: string): void => {
    told += text
  }
  const [name, ...words] = splitWords(line.trim())
  if (name === undefined) return ''
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (command === undefined) return lines(`unknown command: '${name}'\n`)
  try {
    const count = words.filter((word) => !word.startsWith('-')).length
    if (count < (command.minimum ?? 0)) {
      return lines(`${name}: missing argument\nTry "help ${name}" for more information\n`)
    }
    await command.run(system, words, tell)
  } catch (error) {
    tell(`Error: ${messageOf(error)}\n`)
    if (isBlockError(error) && error.hint !== undefined) tell(`${error.hint}\n`)
  }
  return lines(told)
}

/** Monitors end lines as terminals do. */
function lines(text: string): string {
  return text.replace(/\r?\n/g, '\r\n')
}

/** A command that QMP has as well: its arguments out of the words. */
function forwarded(
  usage: string,
  summary: string,
  command: string,
  minimum: number,
  args: (words: readonly string[]) => Record<string, unknown>,
): HumanCommand {
  const run = ({ monitor }: HumanSystem, words: readonly string[]): Promise<unknown> =>
    monitor.execute(command, given(args(words)), { text: true })
  return { usage, summary, minimum, run }
}

/** The arguments that have a value. */
function given(args: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(args).filter(([, value]) => value !== undefined))
}

const commands: Readonly<Record<string, HumanCommand>> = {
  help: {
    usage: '[cmd]',
    summary: 'show the help',
    run: (_system, [name], tell) => {
      for (const [own, { usage, summary }] of Object.entries(commands)) {
        if (name === undefined || name === own) tell(`${own} ${usage} -- ${summary}\n`)
      }
    },
  },
  info: { usage: '[subcommand]', summary: 'show the state of something', run: info },
  'qemu-io': {
    usage: '[-d] [device] "[command]"',
    summary: 'run a command of the I/O tool on a device',
    minimum: 2,
    run: async ({ qemuIo }, words, tell) => {
      const { flags, rest } = takeFlags(words, 'd')
      const [device = '', line = ''] = rest
      await qemuIo.run(device, line, flags.has('d'), tell)
    },
  },
  commit: { usage: 'device|all', summary: 'commit changes to the backing image', minimum: 1, run: commitDrives },
  drive_add: {
    usage: '[-n] [pci-address] drive-options',
    summary: 'add a drive',
    minimum: 1,
    run: async ({ drives, monitor }, words, tell) => {
      const { flags, rest } = takeFlags(words, 'n')
      const options = rest[rest.length - 1] as string
      try {
        if (flags.has('n')) await monitor.execute('blockdev-add', parseKeyval(options, 'driver'), { text: true })
        else await drives.add(parseDrive(options, { interface: 'ide' }))
      } catch (error) {
        tell(`${messageOf(error)}\n`)
        return
      }
      if (!flags.has('n')) tell('OK\n')
    },
  },
  drive_del: { usage: 'device', summary: 'remove a drive', minimum: 1, run: deleteDrive },
  device_add: {
    usage: 'driver[,prop=value][,...]',
    summary: 'add a device',
    minimum: 1,
    run: ({ models }, [text = '']) => models.add(parseKeyval(text, 'driver')),
  },
  device_del: {
    usage: 'device',
    summary: 'remove a device',
    minimum: 1,
    run: ({ models }, [id = '']) => models.remove(id),
  },
  block_resize: forwarded('device size', 'resize a block image', 'block_resize', 2, ([device, size = '']) => ({
    device,
    size: sizeInMebibytes(size),
  })),
  snapshot_blkdev: forwarded(
    '[-n] device [new-image-file] [format]',
    'take a snapshot into a new image',
    'blockdev-snapshot-sync',
    2,
    (words) => {
      const { flags, rest } = takeFlags(words, 'n')
      const [device, file, format] = rest
      const mode = flags.has('n') ? 'existing' : 'absolute-paths'
      return { device, 'snapshot-file': file, format, mode }
    },
  ),
  drive_backup: forwarded(
    '[-n] [-f] [-c] device target [format]',
    'copy a point in time',
    'drive-backup',
    2,
    (words) => {
      const { flags, rest } = takeFlags(words, 'nfc')
      const [device, target, format] = rest
      const mode = flags.has('n') ? 'existing' : 'absolute-paths'
      return {
        device,
        target,
        format,
        mode,
        sync: flags.has('f') ? 'full' : 'top',
        ...(flags.has('c') ? { compress: true } : {}),
      }
    },
  ),
  drive_mirror: forwarded('[-n] [-f] device target [format]', 'mirror a device', 'drive-mirror', 2, (words) => {
    const { flags, rest } = takeFlags(words, 'nf')
    const [device, target, format] = rest
    const mode = flags.has('n') ? 'existing' : 'absolute-paths'
    return { device, target, format, mode, sync: flags.has('f') ? 'full' : 'top' }
  }),
  block_stream: forwarded(
    'device [speed] [base]',
    'copy data from backing files',
    'block-stream',
    1,
    ([device, speed, base]) => ({
      device,
      speed,
      base,
    }),
  ),
  block_job_cancel: forwarded('[-f] device', 'stop a job', 'block-job-cancel', 1, (words) => {
    const { flags, rest } = takeFlags(words, 'f')
    return { device: rest[0], ...(flags.has('f') ? { force: true } : {}) }
  }),
  block_job_complete: forwarded('device', 'complete a job', 'block-job-complete', 1, ([device]) => ({ device })),
  block_job_pause: forwarded('device', 'pause a job', 'block-job-pause', 1, ([device]) => ({ device })),
  block_job_resume: forwarded('device', 'resume a job', 'block-job-resume', 1, ([device]) => ({ device })),
  block_job_set_speed: forwarded('device speed', 'limit a job', 'block-job-set-speed', 2, ([device, speed = '']) => ({
    device,
    speed: sizeInMebibytes(speed),
  })),
  eject: forwarded('[-f] device', 'eject a removable medium', 'eject', 1, (words) => {
    const { flags, rest } = takeFlags(words, 'f')
    return { device: rest[0], ...(flags.has('f') ? { force: true } : {}) }
  }),
  change: forwarded(
    'device filename [format [read-only-mode]]',
    'change a removable medium',
    'blockdev-change-medium',
    2,
    ([device, filename, format, mode]) => ({ device, filename, format, 'read-only-mode': mode }),
  ),
  stop: forwarded('', 'stop the guest', 'stop', 0, () => ({})),
  cont: forwarded('', 'let the guest run', 'cont', 0, () => ({})),
  quit: forwarded('', 'end the program', 'quit', 0, () => ({})),
  savevm: { usage: 'tag', summary: 'not here', run: refuseVmState },
  loadvm: { usage: 'tag', summary: 'not here', run: refuseVmState },
}

function refuseVmState(): never {
  throw new BlockError('ENOTSUP', 'there is no machine whose state could be saved or loaded', {
    hint: 'blockdev-snapshot-internal-sync takes a snapshot of a disk',
  })
}

async function info(system: HumanSystem, words: readonly string[], tell: (text: string) => void): Promise<void> {
  const [what, ...rest] = words
  const { monitor, devices } = system
  if (what === 'block') await infoBlock(system, rest, tell)
  else if (what === 'status') {
    const { status, running } = devices.runState
    tell(`VM status: ${running ? 'running' : `paused${status === 'paused' ? '' : ` (${status})`}`}\n`)
  } else if (what === 'version') tell(`${monitor.version.qemu.major}.${monitor.version.qemu.minor}\n`)
  else if (what === 'block-jobs') tell(jobLines((await monitor.execute('query-block-jobs', {})) as BlockJob[]))
  else if (what === undefined) tell('info block | block-jobs | status | version\n')
  else throw new BlockError('EINVAL', `there is nothing to tell of '${what}'`)
}

interface BlockJob {
  readonly type: string
  readonly device: string
  readonly offset: number
  readonly len: number
  readonly speed: number
}

function jobLines(jobs: readonly BlockJob[]): string {
  if (jobs.length === 0) return 'No active jobs\n'
  const line = ({ type, device, offset, len, speed }: BlockJob): string => {
    const what = type === 'stream' ? 'Streaming device' : `Type ${type}, device`
    return `${what} ${device}: Completed ${offset} of ${len} bytes, speed limit ${speed} bytes/s\n`
  }
  return jobs.map(line).join('')
}

async function infoBlock(
  { monitor, graph }: HumanSystem,
  words: readonly string[],
  tell: (text: string) => void,
): Promise<void> {
  const { flags, rest } = takeFlags(words, 'nv')
  const [only] = rest
  const isDetailed = flags.has('v')
  const told = async (text: string, name: string | undefined): Promise<void> => {
    tell(text)
    const node = name === undefined ? undefined : graph.find(name)
    if (isDetailed && node !== undefined) tell(await imagesText(node))
  }
  if (!flags.has('n')) {
    const devices = (await monitor.execute('query-block', {})) as TypeOf<'BlockInfo'>[]
    for (const [i, device] of devices.entries()) {
      if (only !== undefined && device.device !== only) continue
      if (i > 0) tell('\n')
      await told(blockText(device, device.inserted), device.inserted?.['node-name'])
    }
    if (only === undefined || devices.some(({ device }) => device === only)) return
  }
  const nodes = (await monitor.execute('query-named-block-nodes', {})) as TypeOf<'BlockDeviceInfo'>[]
  for (const [i, node] of nodes.entries()) {
    if (only !== undefined && node['node-name'] !== only) continue
    if (i > 0) tell('\n')
    await told(blockText(undefined, node), node['node-name'])
  }
}

async function commitDrives(
  { devices }: HumanSystem,
  [name]: readonly string[],
  tell: (text: string) => void,
): Promise<void> {
  if (name !== 'all') {
    const device = devices.find(name as string)
    if (device?.medium === undefined) {
      tell(device === undefined ? `Device '${name}' not found\n` : `Device '${name}' has no medium\n`)
      return
    }
    await commitMedium(device.medium).catch((error) => tell(`'commit' error for '${name}': ${messageOf(error)}\n`))
    return
  }
  for (const { medium } of devices) if (medium?.node.backing !== undefined) await commitMedium(medium)
}

async function commitMedium(medium: Medium): Promise<void> {
  if (medium.node.backing === undefined) throw new BlockError('ENOTSUP', 'Operation not supported')
  await commit(medium)
}

/** Ends a drive. One that a model is over stays as an empty one, whose requests fail. */
async function deleteDrive({ devices, drives, graph }: HumanSystem, [name = '']: readonly string[]): Promise<void> {
  const device = devices.find(name)
  if (device === undefined) {
    const node = graph.find(name)
    if (node === undefined) throw new BlockError('ENODEV', `Device '${name}' not found`)
    if (node.parents.size > 0) throw new BlockError('EBUSY', `Node ${name} is in use`)
    await graph.remove(node)
    return
  }
  drives.forget(device)
  await device.close()
}
