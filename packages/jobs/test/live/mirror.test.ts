import { JobTable, startMirror } from '@diskgraph/jobs'
import { describe, expect, it } from 'vitest'
import { contentOf, type Stack, stack } from '../stack.ts'
import { reached, recorded } from './events.ts'

const mebibyte = 2 ** 20
const size = 4 * mebibyte

async function setUp(): Promise<Stack & { jobs: JobTable; events: string[] }> {
  const made = stack()
  return { ...made, jobs: new JobTable(made.graph), events: recorded(made.graph) }
}

describe('a mirror', () => {
  it('becomes ready, and when it is completed the users of the disk go over to the target', async () => {
    const { graph, jobs, events, storages, ...make } = await setUp()
    await using _ = graph
    const disk = await make.plain('a', size)
    await disk.write(mebibyte, new Uint8Array(mebibyte).fill(7))
    const node = await make.target('b', size)
    const job = await startMirror(jobs, { jobId: 'j0', device: disk.node, target: node, sync: 'full' })
    await reached(job, 'ready')
    await disk.write(0, new Uint8Array(100).fill(9))
    job.complete()
    await job.finished
    expect(events).toEqual([
      'created j0',
      'running j0',
      'ready j0',
      `BLOCK_JOB_READY ${size}/${size}`,
      'waiting j0',
      'pending j0',
      expect.stringContaining('BLOCK_JOB_COMPLETED'),
      'concluded j0',
      'null j0',
    ])
    expect(disk.node).toBe(node)
    const buf = await contentOf(disk)
    expect([buf[0], buf[100], buf[mebibyte], buf[2 * mebibyte - 1], buf[2 * mebibyte]]).toEqual([9, 0, 7, 7, 0])
    expect([...graph.nodes].map(({ name }) => name)).toEqual(['b'])
    expect(jobs.list()).toEqual([])
  })
})
