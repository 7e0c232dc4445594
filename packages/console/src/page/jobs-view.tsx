/** Jobs with their progress, and what can be done with them. */
import type { Json, QmpEvent } from './connection.ts'
import type { JobInfo } from './system.ts'
import { percent, rate, size, timeOf } from './units.ts'

/** Runs a command, and shows its error if it has one. */
export type Run = (command: string, args?: { readonly [name: string]: Json | undefined }) => Promise<boolean>

/** What each status allows a person to do. */
const verbs: Readonly<Record<string, readonly string[]>> = {
  created: ['cancel'],
  running: ['pause', 'cancel'],
  paused: ['resume', 'cancel'],
  ready: ['complete', 'pause', 'cancel'],
  standby: ['resume', 'cancel'],
  pending: ['finalize', 'cancel'],
  concluded: ['dismiss'],
}

/** A job that has ended, as its last event told. */
export interface FinishedJob {
  readonly key: string
  readonly time: string
  readonly id: string
  readonly type: string
  readonly outcome: string
}

/** The job that `event` tells the end of. */
export function finishedJob({ event, data, timestamp }: QmpEvent): FinishedJob | undefined {
  if (event !== 'BLOCK_JOB_COMPLETED' && event !== 'BLOCK_JOB_CANCELLED') return undefined
  const { device, type, error } = data as { device: string; type: string; error?: string }
  const ended = event === 'BLOCK_JOB_CANCELLED' ? 'cancelled' : 'completed'
  const outcome = error === undefined ? ended : `failed: ${error}`
  const time = timeOf(timestamp)
  return { key: `${device} ${time}`, time: time.slice(0, 8), id: device, type, outcome }
}

interface JobsViewProps {
  readonly jobs: readonly JobInfo[]
  readonly finished: readonly FinishedJob[]
  readonly run: Run
}

export function JobsView({ jobs, finished, run }: JobsViewProps) {
  return (
    <>
      {jobs.length === 0 ? <p class="empty">No job runs. Choose a node to start one.</p> : null}
      <ul class="jobs">
        {jobs.map((job) => (
          <Job key={job.id} job={job} run={run} />
        ))}
      </ul>
      <ul class="finished small">
        {finished.map(({ key, time, id, type, outcome }) => (
          <li key={key}>
            {time} <strong>{id}</strong> ({type}) {outcome}
          </li>
        ))}
      </ul>
    </>
  )
}

function Job({ job, run }: { readonly job: JobInfo; readonly run: Run }) {
  const { id, type, status, error, speed } = job
  const [done, total] = [job['current-progress'], job['total-progress']]
  return (
    <li class={error === undefined ? '' : 'failed'}>
      <div class="line">
        <strong>{id}</strong>
        <span class="kind">{type}</span>
        <span class={`status ${status}`}>{status}</span>
        <span class="buttons">
          {(verbs[status] ?? []).map((verb) => (
            <button key={verb} type="button" onClick={() => run(`job-${verb}`, { id })}>
              {verb}
            </button>
          ))}
        </span>
      </div>
      <progress value={total === 0 ? 1 : done} max={total === 0 ? 1 : total} aria-label={`progress of ${id}`} />
      <div class="line small">
        <span>{percent(done, total)}</span>
        <span>
          {size(done)} of {size(total)}
        </span>
        {speed ? <span>at most {rate(speed)}</span> : null}
        {error === undefined ? null : <span class="error">{error}</span>}
      </div>
    </li>
  )
}
