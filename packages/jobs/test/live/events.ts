import type { Graph } from '@diskgraph/core'
import type { Job } from '@diskgraph/jobs'

/** The events of `graph` from here on, one text each: `ready j0`, `BLOCK_JOB_READY 4/4`. */
export function recorded(graph: Graph): string[] {
  const events: string[] = []
  graph.onEvent(({ event, data }) => {
    if (event === 'JOB_STATUS_CHANGE') events.push(`${String(data.status)} ${String(data.id)}`)
    else if (event.startsWith('BLOCK_JOB_')) {
      const { len, offset, error, operation, action } = data as Record<string, string | undefined>
      const figures = len === undefined ? '' : ` ${offset}/${len}`
      events.push(
        `${event}${figures}${[error, operation, action]
          .filter(Boolean)
          .map((text) => ` ${text}`)
          .join('')}`,
      )
    }
  })
  return events
}

/** Resolves when `job` has one of `statuses`. */
export function reached(job: Job, ...statuses: string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`job is ${job.status}, not ${statuses.join(', ')}`)), 5000)
    const look = (): void => {
      if (statuses.includes(job.status)) {
        clearTimeout(timer)
        resolve()
      } else if (job.status === 'null') {
        clearTimeout(timer)
        reject(new Error(`job is gone: ${job.error ?? 'no error'}`))
      } else setImmediate(look)
    }
    look()
  })
}
