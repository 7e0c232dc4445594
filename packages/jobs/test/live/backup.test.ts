import { JobTable, removeBitmap, startBackup } from '@diskgraph/jobs'
import { describe, expect, it } from 'vitest'
import { contentOf, type Stack, stack } from '../stack.ts'
import { reached, recorded } from './events.ts'

const mebibyte = 2 ** 20
const size = 4 * mebibyte

async function setUp(): Promise<Stack & { jobs: JobTable; events: string[] }> {
  const made = stack()
  return { ...made, jobs: new JobTable(made.graph), events: recorded(made.graph) }
}

describe('a backup', () => {
  it('holds the disk as it was at the start, whatever is written meanwhile', async () => {
    const { graph, jobs, events, storages, ...make } = await setUp()
    await using _ = graph
    const disk = await make.plain('a', size)
    await disk.write(mebibyte, new Uint8Array(mebibyte).fill(7))
    const before = await contentOf(disk)
    await make.target('b', size)
    const job = await startBackup(jobs, { jobId: 'j0', device: disk.node, target: 'b', sync: 'full', speed: mebibyte })
    await disk.write(mebibyte + 5, new Uint8Array(100).fill(9))
    await disk.writeZeroes(3 * mebibyte, 65536)
    await disk.write(0, new Uint8Array(mebibyte).fill(1))
    job.setSpeed(0)
    await job.finished
    expect(events).toEqual([
      'created j0',
      'running j0',
      'paused j0',
      'running j0',
      'waiting j0',
      'pending j0',
      `BLOCK_JOB_COMPLETED ${size}/${size}`,
      'concluded j0',
      'null j0',
    ])
    const copied = new Uint8Array(size)
    storages.get('b')?.read(0, copied)
    expect(Buffer.compare(copied, before)).toBe(0)
    expect((await contentOf(disk))[0]).toBe(1)
    expect([...graph.nodes]).toHaveLength(2)
  })

  it('is cancelled before it has begun, and leaves no filter and nothing that blocks', async () => {
    const { graph, jobs, ...make } = await setUp()
    await using _ = graph
    const disk = await make.plain('a', size)
    await make.target('b', size)
    const job = await graph.change(async (change) => {
      const made = await startBackup(jobs, { jobId: 'j0', device: disk.node, target: 'b', sync: 'full', change })
      expect(made.status).toBe('created')
      made.cancel()
      return made
    })
    await expect(job.finished).rejects.toMatchObject({ code: 'ECANCELED' })
    expect([...graph.nodes].map(({ driver }) => driver.name)).not.toContain('copy-before-write')
    const again = await startBackup(jobs, { jobId: 'j1', device: disk.node, target: 'b', sync: 'full' })
    await again.finished
  })

  it('is cancelled while it is paused, and leaves the disk as it is', async () => {
    const { graph, jobs, events, ...make } = await setUp()
    await using _ = graph
    const disk = await make.plain('a', size)
    await make.target('b', size)
    const job = await startBackup(jobs, { jobId: 'j0', device: disk.node, target: 'b', sync: 'full', speed: 1 })
    await reached(job, 'running')
    job.pause()
    expect(() => job.pause()).toThrow('Job is already paused')
    await reached(job, 'paused')
    expect(() => job.complete()).toThrow("Job 'j0' in state 'paused' cannot accept command verb 'complete'")
    job.cancel()
    await expect(job.finished).rejects.toMatchObject({ code: 'ECANCELED' })
    expect(events.slice(4)).toEqual([
      'paused j0',
      'running j0',
      'aborting j0',
      expect.stringContaining('BLOCK_JOB_CANCELLED'),
      'concluded j0',
      'null j0',
    ])
    expect([...graph.nodes]).toHaveLength(2)
  })

  it('of a change that fails leaves no filter, no job and its bitmap as it was', async () => {
    const { graph, jobs, events, ...make } = await setUp()
    await using _ = graph
    const disk = await make.plain('a', size)
    await make.target('b', size)
    const { node } = disk
    const bitmap = node.addDirtyBitmap(65536, 'bits')
    bitmap.set(0, 65536)
    const shape = (): unknown => JSON.parse(JSON.stringify(graph))
    const before = shape()
    const settings = { jobId: 'j0', device: node, target: 'b', sync: 'incremental', bitmap: 'bits' } as const
    const failing = graph.change(async (change) => {
      await startBackup(jobs, { ...settings, change })
      expect(() => removeBitmap(node, 'bits')).toThrow('currently in use')
      throw new Error('another action')
    })
    await expect(failing).rejects.toThrow('another action')
    expect(shape()).toEqual(before)
    expect(jobs.list()).toEqual([])
    expect(bitmap).toMatchObject({ busy: false, dirtyBytes: 65536 })
    expect(events).toEqual(['created j0', 'aborting j0', 'concluded j0', 'null j0'])
    await (await startBackup(jobs, settings)).finished
  })
})
