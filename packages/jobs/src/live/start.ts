/** The start of a live job: one change of the graph, in which it looks at what is there and stages what it needs. */
import type { Change } from '@diskgraph/core'
import { inChange } from '../disk/chain.ts'
import type { Job, JobWork } from '../job/job.ts'
import type { JobTable } from '../job/job-table.ts'
import type { JobSettings, JobType } from '../job/settings.ts'

/**
 * Starts a job; `stage` finds its nodes, makes it and stages its place in the graph, all in one change, so that nobody
 * comes between the look and the act. The job starts when the change is committed (its own, or `settings.change`, which others share),
 * and is gone when that is undone.
 */
export async function startJob(
  jobs: JobTable,
  type: JobType,
  settings: JobSettings & { readonly change?: Change | undefined },
  stage: (change: Change, make: () => Job) => Promise<JobWork>,
): Promise<Job> {
  const isOver = settings.transaction?.expect() ?? nothing
  try {
    return await inChange(jobs.graph, settings.change, stageJob)
  } catch (error) {
    isOver()
    throw error
  }

  async function stageJob(change: Change): Promise<Job> {
    let made: Job | undefined
    const make = (): Job => {
      made = jobs.make(type, settings)
      return made
    }
    try {
      const work = await stage(change, make)
      const job = made as unknown as Job
      job.announce()
      change.afterCommit(() => {
        job.start(work, work.heldUntil?.())
        isOver()
      })
      if (settings.change === undefined) await change.commit()
      change.onUndo(() => {
        job.discard('aborting')
        isOver()
      })
      return job
    } catch (error) {
      made?.discard()
      throw error
    }
  }
}

function nothing(): void {}
