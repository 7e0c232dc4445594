/** The commands of the human monitor: words of a line become calls of QMP's commands, or of the emulator's own. */
import { BlockError, isBlockError } from '@diskgraph/core'
import type { Medium } from '@diskgraph/devices'
import { commit } from '@diskgraph/jobs'
import { parseKeyval } from '@diskgraph/qapi'
import { messageOf } from '@diskgraph/tools'
import { parseDrive } from '../../drives/drive-options.ts'
import { infoCommands } from './info.ts'
import { nbdCommands } from './nbd.ts'
import { forwarded, type HumanCall, type HumanCommand, type HumanSystem } from './system.ts'
import { parseWords, sizeInMebibytes, splitWords, WordError } from './words.ts'

/** Runs a line and resolves with what it tells. It does not reject: errors are told, too. */
export async function runHuman(system: HumanSystem, line: string): Promise<string> {
  let told = ''
  const tell = (text: string): void => {
    told += text
  }
  const [verb, ...behind] = splitWords(line.trim())
  if (verb === undefined) return ''
  const isInfo = verb === 'info' && behind.length > 0
  const name = isInfo ? (behind[0] as string) : verb
  const table = isInfo ? infoCommands : commands
  const spelled = isInfo ? `info ${name}` : name
  if (!Object.hasOwn(table, name)) return lines(`unknown command: '${spelled}'\n`)
  const command = table[name] as HumanCommand
  try {
    const { flags, rest } = parseWords(name, isInfo ? behind.slice(1) : behind, command)
    await command.run(system, { words: rest, flags, tell })
  } catch (error) {
    if (error instanceof WordError) tell(`${error.message}\nTry "help ${spelled}" for more information\n`)
    else tell(`Error: ${messageOf(error)}\n`)
    if (isBlockError(error) && error.hint !== undefined) tell(`${error.hint}\n`)
  }
  return lines(told)
}

/** Monitors end lines as terminals do. */
function lines(text: string): string {
  return text.replace(/\r?\n/g, '\r\n')
}

const device = ({ words }: HumanCall): Record<string, unknown> => ({ device: words[0] })
const modeOf = ({ flags }: HumanCall): string => (flags.has('n') ? 'existing' : 'absolute-paths')
const forced = ({ flags }: HumanCall): true | undefined => (flags.has('f') ? true : undefined)

const commands: Readonly<Record<string, HumanCommand>> = {
  help: {
    usage: '[cmd]',
    summary: 'show the help',
    takes: 's? s?',
    run: (_system, { words: [name, sub], tell }) => {
      const table = name === 'info' ? infoCommands : commands
      const only = name === 'info' ? sub : name
      if (only !== undefined && !Object.hasOwn(table, only)) {
        tell(`unknown command: '${name === 'info' ? `info ${only}` : only}'\n`)
        return
      }
      for (const [own, { usage, summary }] of Object.entries(table)) {
        if (only === undefined || only === own)
          tell(`${table === commands ? '' : 'info '}${own} ${usage} -- ${summary}\n`)
      }
    },
  },
  info: {
    usage: '[subcommand]',
    summary: 'show the state of something',
    takes: '',
    run: (_system, { tell }) => {
      for (const [name, { usage, summary }] of Object.entries(infoCommands)) {
        tell(`info ${name} ${usage} -- ${summary}\n`)
      }
    },
  },
  'qemu-io': {
    usage: '[-d] [device] "[command]"',
    summary: 'run a command of the I/O tool on a device',
    flags: 'd',
    takes: 'B s',
    run: ({ qemuIo }, { words: [name = '', line = ''], flags, tell }) => qemuIo.run(name, line, flags.has('d'), tell),
  },
  commit: { usage: 'device|all', summary: 'commit changes to the backing image', takes: 'B', run: commitDrives },
  drive_add: {
    usage: '[-n] pci-address drive-options',
    summary: 'add a drive',
    flags: 'n',
    takes: 's s',
    run: async ({ drives, monitor }, { words: [, options = ''], flags, tell }) => {
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
  drive_del: { usage: 'device', summary: 'remove a drive', takes: 'B', run: deleteDrive },
  device_add: {
    usage: 'driver[,prop=value][,...]',
    summary: 'add a device',
    takes: 's?',
    run: ({ models }, { words: [text = ''] }) => models.add(parseKeyval(text, 'driver')),
  },
  device_del: {
    usage: 'device',
    summary: 'remove a device',
    takes: 's',
    run: ({ models }, { words: [id = ''] }) => models.remove(id),
  },
  object_add: {
    usage: '[qom-type=]type,id=str[,prop=value][,...]',
    summary: 'add an object',
    takes: 's',
    run: ({ monitor }, { words: [text = ''] }) =>
      monitor.execute('object-add', parseKeyval(text, 'qom-type'), { text: true }),
  },
  object_del: forwarded({ usage: 'id', summary: 'remove an object', takes: 's' }, 'object-del', ({ words: [id] }) => ({
    id,
  })),
  'qom-list': {
    usage: 'path',
    summary: 'show the properties of an object',
    takes: 's?',
    run: async ({ monitor }, { words: [path = '/'], tell }) => {
      const all = (await monitor.execute('qom-list', { path })) as { readonly name: string; readonly type: string }[]
      for (const { name, type } of all) tell(`${name} (${type})\n`)
    },
  },
  'qom-get': {
    usage: 'path property',
    summary: 'show a property of an object',
    takes: 's s',
    run: async ({ monitor }, { words: [path, property], tell }) => {
      tell(`${JSON.stringify(await monitor.execute('qom-get', { path, property }), undefined, 4)}\n`)
    },
  },
  getfd: forwarded({ usage: 'name', summary: 'name a descriptor', takes: 's' }, 'getfd', ({ words: [fdname] }) => ({
    fdname,
  })),
  closefd: forwarded(
    { usage: 'name', summary: 'close a descriptor', takes: 's' },
    'closefd',
    ({ words: [fdname] }) => ({
      fdname,
    }),
  ),
  block_resize: forwarded(
    { usage: 'device size', summary: 'resize a block image', takes: 'B o' },
    'block_resize',
    ({ words: [name, size = ''] }) => ({ device: name, size: sizeInMebibytes(size) }),
  ),
  block_set_io_throttle: forwarded(
    {
      usage: 'device bps bps_rd bps_wr iops iops_rd iops_wr',
      summary: 'limit the requests of a device',
      takes: 'B l l l l l l',
    },
    'block_set_io_throttle',
    ({ words: [name, bps, bps_rd, bps_wr, iops, iops_rd, iops_wr] }) => ({
      device: name,
      ...{ bps, bps_rd, bps_wr, iops, iops_rd, iops_wr },
    }),
  ),
  snapshot_blkdev: forwarded(
    {
      usage: '[-n] device [new-image-file] [format]',
      summary: 'take a snapshot into a new image',
      flags: 'n',
      takes: 'B s? s?',
    },
    'blockdev-snapshot-sync',
    (call) => ({ ...device(call), 'snapshot-file': call.words[1], format: call.words[2], mode: modeOf(call) }),
  ),
  snapshot_blkdev_internal: forwarded(
    { usage: 'device name', summary: 'take a snapshot inside of an image', takes: 'B s' },
    'blockdev-snapshot-internal-sync',
    ({ words: [name, snapshot] }) => ({ device: name, name: snapshot }),
  ),
  snapshot_delete_blkdev_internal: forwarded(
    { usage: 'device name [id]', summary: 'delete a snapshot inside of an image', takes: 'B s s?' },
    'blockdev-snapshot-delete-internal-sync',
    ({ words: [name, snapshot, id] }) => ({ device: name, name: snapshot, id }),
  ),
  drive_backup: forwarded(
    { usage: '[-n] [-f] [-c] device target [format]', summary: 'copy a point in time', flags: 'nfc', takes: 'B s s?' },
    'drive-backup',
    (call) => ({
      ...copyArguments(call),
      ...(call.flags.has('c') ? { compress: true } : {}),
    }),
  ),
  drive_mirror: forwarded(
    { usage: '[-n] [-f] device target [format]', summary: 'mirror a device', flags: 'nf', takes: 'B s s?' },
    'drive-mirror',
    copyArguments,
  ),
  block_stream: forwarded(
    { usage: 'device [speed] [base]', summary: 'copy data from backing files', takes: 'B o? s?' },
    'block-stream',
    ({ words: [name, speed, base] }) => ({ device: name, speed, base }),
  ),
  block_job_cancel: forwarded(
    { usage: '[-f] device', summary: 'stop a job', flags: 'f', takes: 'B' },
    'block-job-cancel',
    (call) => ({ ...device(call), force: forced(call) }),
  ),
  block_job_complete: forwarded(
    { usage: 'device', summary: 'complete a job', takes: 'B' },
    'block-job-complete',
    device,
  ),
  block_job_pause: forwarded({ usage: 'device', summary: 'pause a job', takes: 'B' }, 'block-job-pause', device),
  block_job_resume: forwarded({ usage: 'device', summary: 'resume a job', takes: 'B' }, 'block-job-resume', device),
  block_job_set_speed: forwarded(
    { usage: 'device speed', summary: 'limit a job', takes: 'B o' },
    'block-job-set-speed',
    ({ words: [name, speed = ''] }) => ({ device: name, speed: sizeInMebibytes(speed) }),
  ),
  ...nbdCommands,
  eject: forwarded(
    { usage: '[-f] device', summary: 'eject a removable medium', flags: 'f', takes: 'B' },
    'eject',
    (call) => ({ ...device(call), force: forced(call) }),
  ),
  change: forwarded(
    {
      usage: '[-f] device filename [format [read-only-mode]]',
      summary: 'change a removable medium',
      flags: 'f',
      takes: 'B F s? s?',
    },
    'blockdev-change-medium',
    (call) => {
      const [, filename, format, mode] = call.words
      return { ...device(call), filename, format, 'read-only-mode': mode, force: forced(call) }
    },
  ),
  stop: forwarded({ usage: '', summary: 'stop the guest', takes: '' }, 'stop', () => ({})),
  cont: forwarded({ usage: '', summary: 'let the guest run', takes: '' }, 'cont', () => ({})),
  system_reset: forwarded({ usage: '', summary: 'reset the guest', takes: '' }, 'system_reset', () => ({})),
  quit: forwarded({ usage: '', summary: 'end the program', takes: '' }, 'quit', () => ({})),
  savevm: { usage: 'tag', summary: 'not here', takes: '*', run: refuseVmState },
  loadvm: { usage: 'tag', summary: 'not here', takes: '*', run: refuseVmState },
  delvm: { usage: 'tag', summary: 'not here', takes: '*', run: refuseVmState },
}

function copyArguments(call: HumanCall): Record<string, unknown> {
  const [, target, format] = call.words
  return { ...device(call), target, format, mode: modeOf(call), sync: call.flags.has('f') ? 'full' : 'top' }
}

function refuseVmState(): never {
  throw new BlockError('ENOTSUP', 'there is no machine whose state could be saved or loaded', {
    hint: 'snapshot_blkdev_internal takes a snapshot of a disk, and snapshot_delete_blkdev_internal deletes it',
  })
}

async function commitDrives({ devices }: HumanSystem, { words: [name], tell }: HumanCall): Promise<void> {
  if (name !== 'all') {
    const found = devices.find(name as string)
    if (found?.medium === undefined) {
      tell(found === undefined ? `Device '${name}' not found\n` : `Device '${name}' has no medium\n`)
      return
    }
    await commitMedium(found.medium).catch((error) => tell(`'commit' error for '${name}': ${messageOf(error)}\n`))
    return
  }
  for (const { medium } of devices) if (medium?.node.backing !== undefined) await commitMedium(medium)
}

async function commitMedium(medium: Medium): Promise<void> {
  if (medium.node.backing === undefined) throw new BlockError('ENOTSUP', 'Operation not supported')
  await commit(medium)
}

/** Ends a drive. One that a model is over stays as an empty one, whose requests fail. */
async function deleteDrive({ devices, drives, graph }: HumanSystem, { words: [name = ''] }: HumanCall): Promise<void> {
  const found = devices.find(name)
  if (found === undefined) {
    const node = graph.find(name)
    if (node === undefined) throw new BlockError('ENODEV', `Device '${name}' not found`)
    if (node.parents.size > 0) throw new BlockError('EBUSY', `Node ${name} is in use`)
    await graph.remove(node)
    return
  }
  drives.forget(found)
  await found.close()
}
