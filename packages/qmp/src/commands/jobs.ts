/** Jobs: what starts them, and what is asked of them. */
import { BlockError, type Node } from '@diskgraph/core'
import {
  type Job,
  type JobSettings,
  startAmend,
  startBackup,
  startCommit,
  startCreate,
  startMirror,
  startStream,
} from '@diskgraph/jobs'
import type { ReturnOf, TypeOf } from '@diskgraph/qapi'
import { QmpError } from '../errors.ts'
import type { System } from '../system.ts'
import { graphOptions } from './definitions.ts'
import type { Handlers } from './handlers.ts'
import { backupTarget, mirrorTarget, type OpenedTarget } from './job-targets.ts'

/** What starts jobs, `job-*`, `block-job-*`, `query-jobs`, `query-block-jobs`. */
export function jobCommands(system: System): Handlers {
  const { jobs, graph } = system
  return {
    ...verbs(system),
    'block-stream': async (args) => {
      const device = system.findEither(args.device)
      await startStream(jobs, {
        ...jobSettings(system, args.device, args),
        device,
        base: args.base,
        baseNode: args['base-node'],
        bottom: args.bottom,
        backingFile: args['backing-file'],
        onError: args['on-error'],
        filterNodeName: args['filter-node-name'],
      })
    },
    'block-commit': async (args) => {
      await startCommit(jobs, {
        ...jobSettings(system, args.device, args),
        device: requireDevice(system, args.device),
        base: args.base,
        baseNode: args['base-node'],
        top: args.top,
        topNode: args['top-node'],
        backingFile: args['backing-file'],
        onError: args['on-error'],
        filterNodeName: args['filter-node-name'],
      })
    },
    'blockdev-backup': async (args) => {
      await backup(system, args, system.findEither(args.device), system.findEither(args.target))
    },
    'drive-backup': async (args) => {
      const source = system.findRoot(args.device)
      await withTarget(system, await backupTarget(system, source, args), (target) =>
        driveBackup(system, args, source, target),
      )
    },
    'blockdev-mirror': async (args) => {
      await mirror(system, args, system.findRoot(args.device), system.findEither(args.target))
    },
    'drive-mirror': async (args) => {
      const source = system.findRoot(args.device)
      if (args.replaces !== undefined && args['node-name'] === undefined) {
        throw new BlockError('EINVAL', 'a node-name must be provided when replacing a named node of the graph')
      }
      const targetBacking = args.mode === 'existing' ? 'recorded' : 'source'
      const start = (target: Node): Promise<Job> => mirror(system, { ...args, targetBacking }, source, target)
      await withTarget(system, await mirrorTarget(system, source, args), start)
    },
    'blockdev-create': async (args) => {
      const options = await graphOptions(graph, args.options)
      await startCreate(jobs, { jobId: args['job-id'], options })
    },
    'x-blockdev-amend': async (args) => {
      const options = await graphOptions(graph, args.options)
      const { 'job-id': jobId, 'node-name': node, force } = args
      await startAmend(jobs, { jobId, node, options, force })
    },
  }
}

/** Starts a backup; `more` is what a transaction adds. */
export function backup(
  system: System,
  args: Omit<TypeOf<'BlockdevBackup'>, 'target'>,
  device: Node,
  target: Node,
  more: Pick<Parameters<typeof startBackup>[1], 'change' | 'transaction'> = {},
): Promise<Job> {
  return startBackup(system.jobs, {
    ...jobSettings(system, args.device, args),
    ...more,
    device,
    target,
    sync: args.sync,
    bitmap: args.bitmap,
    bitmapMode: args['bitmap-mode'],
    compress: args.compress,
    onSourceError: args['on-source-error'],
    onTargetError: args['on-target-error'],
    filterNodeName: args['filter-node-name'],
    maxWorkers: args['x-perf']?.['max-workers'],
    maxChunk: args['x-perf']?.['max-chunk'],
  })
}

/** As {@link backup}, of a disk whose content may be in its backing files: where it has none, `top` is all there is. */
export function driveBackup(
  system: System,
  args: Omit<TypeOf<'BlockdevBackup'>, 'target'>,
  source: Node,
  target: Node,
  more: Parameters<typeof backup>[4] = {},
): Promise<Job> {
  const sync = args.sync === 'top' && source.backing === undefined ? 'full' : args.sync
  return backup(system, { ...args, sync }, source, target, more)
}

type MirrorArguments = Parameters<NonNullable<Handlers['blockdev-mirror']>>[0] & {
  readonly unmap?: boolean | undefined
  readonly targetBacking?: 'source' | 'recorded' | undefined
}

function mirror(system: System, args: Omit<MirrorArguments, 'target'>, device: Node, target: Node): Promise<Job> {
  const { sync } = args
  if (sync === 'incremental' || sync === 'bitmap') {
    throw new BlockError('EINVAL', `Sync mode '${sync}' not supported`)
  }
  return startMirror(system.jobs, {
    ...jobSettings(system, args.device, args),
    device,
    target,
    sync,
    replaces: args.replaces,
    granularity: args.granularity,
    bufSize: args['buf-size'],
    onSourceError: args['on-source-error'],
    onTargetError: args['on-target-error'],
    unmap: args.unmap,
    filterNodeName: args['filter-node-name'],
    copyMode: args['copy-mode'],
    targetBacking: args.targetBacking,
  })
}

/** Starts a job whose target was opened for it: the target goes with the job. */
async function withTarget(
  { graph }: System,
  target: OpenedTarget,
  start: (target: Node) => Promise<Job>,
): Promise<void> {
  try {
    await start(target.node)
  } catch (error) {
    await target.letGo()
    throw error
  }
  // The answer does not wait: it comes before what becomes of the job.
  target.letGo().catch((error: Error) => graph.warn(`the target of a job is kept: ${error.message}`))
}

interface JobArguments {
  readonly 'job-id'?: string | undefined
  readonly speed?: number | undefined
  readonly 'auto-finalize'?: boolean | undefined
  readonly 'auto-dismiss'?: boolean | undefined
}

/** A job has the name of its device, also when that is named by its node, if it has one and is given no other. */
function jobSettings({ devices }: System, device: string, args: JobArguments): JobSettings {
  const shown = devices === undefined ? undefined : [...devices].find(({ node }) => node?.name === device)
  return {
    jobId: args['job-id'] ?? (devices?.find(device) ?? shown)?.id ?? '',
    speed: args.speed,
    autoFinalize: args['auto-finalize'],
    autoDismiss: args['auto-dismiss'],
  }
}

function requireDevice(system: System, name: string): Node {
  const node = system.devices?.nodeOf(name) ?? system.graph.find(name)
  if (node !== undefined) return node
  throw new QmpError('DeviceNotFound', `Device '${name}' not found`, 'ENODEV')
}

function verbs({ jobs }: System): Handlers {
  const job = (id: string): Job => {
    const found = jobs.get(id)
    if (found === undefined) throw new BlockError('ENOENT', 'Job not found')
    return found
  }
  const blockJob = (id: string): Job => {
    const found = jobs.get(id)
    if (found?.isBlockJob) return found
    throw new QmpError('DeviceNotActive', `Block job '${id}' not found`, 'ENOENT')
  }
  return {
    'job-pause': ({ id }) => job(id).pause(),
    'job-resume': ({ id }) => job(id).resume(),
    'job-cancel': ({ id }) => job(id).cancel(),
    'job-complete': ({ id }) => job(id).complete(),
    'job-finalize': ({ id }) => job(id).finalize(),
    'job-dismiss': ({ id }) => job(id).dismiss(),
    'block-job-pause': ({ device }) => blockJob(device).pause(),
    'block-job-resume': ({ device }) => blockJob(device).resume(),
    'block-job-cancel': ({ device, force }) => blockJob(device).cancel(force === true),
    'block-job-complete': ({ device }) => blockJob(device).complete(),
    'block-job-finalize': ({ id }) => blockJob(id).finalize(),
    'block-job-dismiss': ({ id }) => blockJob(id).dismiss(),
    'block-job-change': ({ id, type, 'copy-mode': copyMode }) => {
      const found = blockJob(id)
      if (found.type === type) return found.change({ copyMode })
      throw new BlockError('EINVAL', `Job '${id}' is of type '${found.type}', not '${type}'`)
    },
    'block-job-set-speed': ({ device, speed }) => blockJob(device).setSpeed(speed),
    'query-jobs': () => jobs.list().map(jobInfo),
    'query-block-jobs': () =>
      jobs
        .list()
        .filter(({ isBlockJob }) => isBlockJob)
        .map(blockJobInfo),
  }
}

function jobInfo({ id, type, status, offset, length, error }: Job): ReturnOf<'query-jobs'>[number] {
  return {
    'current-progress': offset,
    status,
    'total-progress': length,
    type,
    id,
    ...(error === undefined ? {} : { error }),
  }
}

function blockJobInfo(job: Job): ReturnOf<'query-block-jobs'>[number] {
  return {
    'auto-finalize': job.autoFinalize,
    'io-status': job.ioStatus,
    device: job.id,
    'auto-dismiss': job.autoDismiss,
    busy: job.busy,
    len: job.length,
    offset: job.offset,
    status: job.status,
    paused: job.paused,
    speed: job.speed,
    ready: job.ready,
    type: job.type,
    ...(job.error === undefined ? {} : { error: job.error }),
  }
}
