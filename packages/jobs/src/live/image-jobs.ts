/** `create` and `amend`: jobs that make an image, or change how one is made. */
import { BlockError, type Node } from '@diskgraph/core'
import type { Job, JobWork } from '../job/job.ts'
import type { JobTable } from '../job/job-table.ts'
import type { JobSettings } from '../job/settings.ts'
import { findNodeByName } from './nodes.ts'

/** What {@link startCreate} takes; QMP's `blockdev-create`. Such a job stays until it is dismissed, unless told otherwise. */
export interface CreateJobOptions extends JobSettings {
  /** Create options by name, camelCase, as `graph.create` takes them; a `file` may be the name of a node. */
  readonly options: Readonly<Record<string, unknown>>
}

/** What {@link startAmend} takes; QMP's `x-blockdev-amend`. */
export interface AmendJobOptions extends JobSettings {
  readonly node: Node | string
  /** Options to change, by name, camelCase, and `driver`, which is that of the node. */
  readonly options: Readonly<Record<string, unknown>>
  /** Also what is not safe. Default false. */
  readonly force?: boolean | undefined
}

/** Starts to make an image. */
export async function startCreate(jobs: JobTable, settings: CreateJobOptions): Promise<Job> {
  const { graph } = jobs
  const { options } = settings
  const driver = await graph.registry.of(options?.driver)
  if (driver.create === undefined) throw new BlockError('ENOTSUP', 'Driver does not support blockdev-create')
  return startOnce(jobs, 'create', settings, (job) => graph.createUnchecked(options, { signal: job.signal }))
}

/** Starts to change an image in place. */
export async function startAmend(jobs: JobTable, settings: AmendJobOptions): Promise<Job> {
  const { graph } = jobs
  const node = findNodeByName(graph, settings.node)
  const { driver, ...options } = settings.options
  if (driver !== node.driver.name) {
    throw new BlockError('EINVAL', "x-blockdev-amend doesn't support changing the block driver")
  }
  if (node.image.amend === undefined) {
    throw new BlockError('ENOTSUP', 'Driver does not support x-blockdev-amend')
  }
  return startOnce(jobs, 'amend', settings, async (job) => {
    const disk = await graph.attach(node)
    try {
      await disk.amend({ options, force: settings.force === true, signal: job.signal })
    } finally {
      await disk.close()
    }
  })
}

/** A job of one step. */
function startOnce(
  jobs: JobTable,
  type: 'create' | 'amend',
  settings: JobSettings,
  step: (job: Job) => Promise<void>,
): Job {
  const work: JobWork = {
    async run(job) {
      job.setRemaining(1)
      try {
        await step(job)
      } finally {
        job.advance(1)
      }
    },
    end: async () => undefined,
  }
  const job = jobs.make(type, { autoDismiss: false, ...settings })
  job.announce()
  job.start(work)
  return job
}
