/** What may be asked of a job, in which state, and what QEMU answers. */
import type { Node } from '@diskgraph/core'
import { JobTable, JobTransaction, startBackup, startMirror } from '@diskgraph/jobs'
import { describe, expect, it } from 'vitest'
import { type Stack, stack } from '../stack.ts'
import { reached, recorded } from './events.ts'

const size = 2 ** 20

async function setUp(): Promise<Stack & { jobs: JobTable; events: string[] }> {
  const made = stack()
  await made.target('a', size)
  await made.target('b', size)
  await made.target('c', size)
  await made.target('d', size)
  return { ...made, jobs: new JobTable(made.graph), events: recorded(made.graph) }
}

const mirror = { device: 'a', target: 'b', sync: 'full' } as const

describe('the table', () => {
  it('refuses ids that are taken or malformed', async () => {
    const { graph, jobs } = await setUp()
    await using _ = graph
    const first = await startMirror(jobs, { ...mirror, jobId: 'j1' })
    const another = { ...mirror, device: 'c', target: 'd' }
    await expect(startMirror(jobs, { ...another, jobId: 'j1' })).rejects.toThrow("Job ID 'j1' already in use")
    for (const jobId of ['1bad', 'x y', '', 'é']) {
      await expect(startMirror(jobs, { ...another, jobId })).rejects.toThrow(`Invalid job ID '${jobId}'`)
    }
    expect(jobs.list()).toEqual([first])
    await jobs.close()
    expect(jobs.list()).toEqual([])
  })

  it('starts nothing any more when it is closed', async () => {
    const { graph, jobs, events } = await setUp()
    await using _ = graph
    await jobs.close()
    const message = 'cannot start a mirror job: the table of jobs is closed'
    await expect(startMirror(jobs, mirror)).rejects.toMatchObject({ code: 'ENODEV', message })
    expect([jobs.list(), events]).toEqual([[], []])
  })

  it('lets jobs rest before it cancels them, and says so', async () => {
    const { graph, jobs, events } = await setUp()
    await using _ = graph
    const job = await startMirror(jobs, { ...mirror, jobId: 'j' })
    await reached(job, 'ready')
    const paused = await startMirror(jobs, { ...mirror, device: 'c', target: 'd', jobId: 'p' })
    await reached(paused, 'ready')
    paused.pause()
    await reached(paused, 'standby')
    events.length = 0
    await jobs.close()
    const ofOne = (id: string) => events.filter((event) => event.endsWith(` ${id}`)).map((event) => event.split(' ')[0])
    expect(ofOne('j').slice(0, 3)).toEqual(['standby', 'ready', 'aborting'])
    expect(ofOne('p').slice(0, 2)).toEqual(['ready', 'aborting'])
  })

  it('gives an id to a job without one, and lists the newest first', async () => {
    const { graph, jobs } = await setUp()
    await using _ = graph
    const one = await startMirror(jobs, mirror)
    const other = await startMirror(jobs, { ...mirror, device: 'c', target: 'd' })
    expect(one.id).not.toBe(other.id)
    expect(jobs.list()).toEqual([other, one])
    expect(jobs.get(one.id)).toBe(one)
    await jobs.close()
  })

  it('forgets a job whose speed is none, after it was there', async () => {
    const { graph, jobs, events } = await setUp()
    await using _ = graph
    const start = startMirror(jobs, { ...mirror, jobId: 'j', speed: -1 })
    await expect(start).rejects.toThrow("Parameter 'speed' expects a non-negative value")
    expect(events).toEqual(['created j', 'null j'])
  })
})

describe('a mirror that is ready', () => {
  async function ready(settings: { autoDismiss?: boolean; autoFinalize?: boolean } = {}) {
    const made = await setUp()
    const job = await startMirror(made.jobs, { ...mirror, jobId: 'j', ...settings })
    await reached(job, 'ready')
    return { ...made, job }
  }

  it('cannot be dismissed, finalized or resumed', async () => {
    const { graph, jobs, job } = await ready()
    await using _ = graph
    expect(() => job.dismiss()).toThrow("Job 'j' in state 'ready' cannot accept command verb 'dismiss'")
    await expect(job.finalize()).rejects.toThrow("Job 'j' in state 'ready' cannot accept command verb 'finalize'")
    expect(() => job.resume()).toThrow("Can't resume a job that was not paused")
    await jobs.close()
  })

  it('is in standby while it is paused, and completes after it is resumed', async () => {
    const { graph, job, events } = await ready()
    await using _ = graph
    job.pause()
    await reached(job, 'standby')
    expect(job).toMatchObject({ ready: true, paused: true, busy: false })
    job.complete()
    expect(job.status).toBe('standby')
    job.resume()
    await job.finished
    expect(events.slice(4, 8)).toEqual(['standby j', 'ready j', 'waiting j', 'pending j'])
  })

  it('ends well when it is cancelled without force, and with CANCELLED when with it', async () => {
    const soft = await ready()
    await using _ = soft.graph
    soft.job.cancel(false)
    await soft.job.finished
    expect(soft.events).toContain(`BLOCK_JOB_COMPLETED ${size}/${size}`)
    expect(soft.graph.find('a')).toBeDefined()
    const hard = await ready({ autoDismiss: false })
    await using __ = hard.graph
    hard.job.pause()
    await reached(hard.job, 'standby')
    expect(() => hard.job.cancel(false)).toThrow("The block job for device 'j' is currently paused")
    hard.job.cancel()
    await hard.job.finished.catch(() => undefined)
    expect(hard.events.slice(5)).toEqual([
      'ready j',
      'aborting j',
      `BLOCK_JOB_CANCELLED ${size}/${size}`,
      'concluded j',
    ])
    expect(hard.job).toMatchObject({ error: 'Operation canceled', status: 'concluded' })
    expect(() => hard.job.cancel()).toThrow("Job 'j' in state 'concluded' cannot accept command verb 'cancel'")
    hard.job.dismiss()
    expect(hard.job.status).toBe('null')
  })

  it('waits to be finalized if it was asked to', async () => {
    const { graph, job, events } = await ready({ autoFinalize: false, autoDismiss: false })
    await using _ = graph
    job.complete()
    await reached(job, 'pending')
    expect(events.slice(4)).toEqual(['waiting j', 'pending j', 'BLOCK_JOB_PENDING'])
    expect(() => job.pause()).toThrow("Job 'j' in state 'pending' cannot accept command verb 'pause'")
    await job.finalize()
    expect(events.slice(7)).toEqual([`BLOCK_JOB_COMPLETED ${size}/${size}`, 'concluded j'])
  })

  it('that is pending can still be cancelled', async () => {
    const { graph, job, events } = await ready({ autoFinalize: false })
    await using _ = graph
    job.complete()
    await reached(job, 'pending')
    job.cancel()
    await expect(job.finished).rejects.toMatchObject({ code: 'ECANCELED' })
    expect(events).toContain(`BLOCK_JOB_CANCELLED ${size}/${size}`)
    expect([...graph.nodes].map(({ name }) => name)).toEqual(['a', 'b', 'c', 'd'])
  })

  it('keeps others off both of its nodes', async () => {
    const { graph, jobs } = await ready()
    await using _ = graph
    for (const device of ['a', 'b']) {
      const start = startMirror(jobs, { device, target: 'c', sync: 'full' })
      await expect(start).rejects.toThrow(`Node '${device}' is busy: block device is in use by block job: mirror`)
      const onto = startMirror(jobs, { device: 'c', target: device, sync: 'full' })
      await expect(onto).rejects.toThrow(`Node '${device}' is busy: block device is in use by block job: mirror`)
    }
    await expect(graph.remove('a')).rejects.toMatchObject({ code: 'EBUSY' })
    await jobs.close()
    await graph.remove('a')
  })
})

it.each([
  [{ granularity: 100 }, "Parameter 'granularity' expects a value in range [512B, 64MB]"],
  [{ granularity: 513 }, "Parameter 'granularity' expects a power of 2"],
  [{ bufSize: -1 }, "Invalid parameter 'buf-size'"],
  [{ sync: 'incremental' as 'full' }, "Sync mode 'incremental' not supported"],
  [{ replaces: 'nope' }, "Failed to find node with node-name='nope'"],
  [{ device: 'nope' }, "Cannot find device='nope' nor node-name='nope'"],
  [{ target: 'nope' }, "Cannot find device='nope' nor node-name='nope'"],
  [{ target: 'a' }, "Can't mirror node into itself"],
  [{ filterNodeName: 'c' }, "Duplicate nodes with node-name='c'"],
  [{ replaces: 'c' }, "Cannot replace 'c' by a node mirrored from 'a', because it cannot be guaranteed that"],
])('a mirror is refused for %j', async (options, message) => {
  const { graph, jobs } = await setUp()
  await using _ = graph
  await expect(startMirror(jobs, { ...mirror, ...options })).rejects.toThrow(message)
  expect(jobs.list()).toEqual([])
})

it.each([
  [{ sync: 'incremental' }, "must provide a valid bitmap name for 'incremental' sync mode"],
  [{ bitmap: 'x' }, "Bitmap 'x' could not be found"],
  [{ bitmap: 'y' }, 'Bitmap sync mode must be given when providing a bitmap'],
  [{ bitmapMode: 'never' }, 'Cannot specify bitmap sync mode without a bitmap'],
  [
    { bitmap: 'y', bitmapMode: 'never' },
    "Bitmap sync mode 'never' has no meaningful effect when combined with sync mode 'full'",
  ],
  [{ bitmap: 'y', sync: 'none', bitmapMode: 'always' }, "sync mode 'none' does not produce meaningful bitmap outputs"],
  [
    { bitmap: 'y', sync: 'incremental', bitmapMode: 'never' },
    "Bitmap sync mode must be 'on-success' when using sync mode 'incremental'",
  ],
  [
    { bitmap: 'x', sync: 'incremental', bitmapMode: 'always' },
    "Bitmap sync mode must be 'on-success' when using sync mode 'incremental'",
  ],
  [{ target: 'a' }, 'Source and target cannot be the same'],
  [{ compress: true }, 'Compression is not supported for this drive '],
  [{ maxWorkers: 0 }, 'max-workers must be between 1 and 2147483647'],
])('a backup is refused for %j', async (options, message) => {
  const { graph, jobs } = await setUp()
  await using _ = graph
  graph.find('a')?.addDirtyBitmap(65536, 'y')
  await expect(startBackup(jobs, { ...mirror, ...options } as never)).rejects.toThrow(message)
  expect(jobs.list()).toEqual([])
})

describe('a transaction', () => {
  const first = { jobId: 't0', device: 'a', target: 'b', sync: 'full' } as const
  const second = { jobId: 't1', device: 'c', target: 'd', sync: 'full' } as const

  it('takes effect when all of its jobs are done', async () => {
    const { graph, jobs, events } = await setUp()
    await using _ = graph
    const transaction = new JobTransaction()
    const one = await startBackup(jobs, { ...first, transaction })
    const other = await startBackup(jobs, { ...second, transaction, speed: 1 })
    await reached(one, 'waiting')
    other.setSpeed(0)
    await Promise.all([one.finished, other.finished])
    expect(events.slice(-9)).toEqual([
      'waiting t1',
      'pending t1',
      'pending t0',
      `BLOCK_JOB_COMPLETED ${size}/${size}`,
      'concluded t1',
      'null t1',
      `BLOCK_JOB_COMPLETED ${size}/${size}`,
      'concluded t0',
      'null t0',
    ])
  })

  it('ends as a whole when one of its jobs is cancelled', async () => {
    const { graph, jobs, events } = await setUp()
    await using _ = graph
    const transaction = new JobTransaction()
    const one = await startBackup(jobs, { ...first, transaction })
    const other = await startBackup(jobs, { ...second, transaction, speed: 1 })
    await reached(one, 'waiting')
    other.cancel()
    await Promise.allSettled([one.finished, other.finished])
    expect(events.slice(-8)).toEqual([
      'aborting t1',
      expect.stringContaining('BLOCK_JOB_CANCELLED'),
      'concluded t1',
      'null t1',
      'aborting t0',
      expect.stringContaining('BLOCK_JOB_CANCELLED'),
      'concluded t0',
      'null t0',
    ])
  })

  it('is finalized as a whole by one of its jobs', async () => {
    const { graph, jobs } = await setUp()
    await using _ = graph
    const transaction = new JobTransaction()
    const one = await startBackup(jobs, { ...first, transaction, autoFinalize: false })
    const other = await startBackup(jobs, { ...second, transaction, autoFinalize: false })
    await reached(one, 'pending')
    expect(other.status).toBe('pending')
    await one.finalize()
    expect([one.status, other.status]).toEqual(['null', 'null'])
  })
})

it('backups that begin in one change show the same moment', async () => {
  const { graph, jobs, storages } = await setUp()
  await using _ = graph
  const disks = [await graph.attach('a'), await graph.attach('c')]
  const transaction = new JobTransaction()
  let writes: Promise<void>[] = []
  const started = graph.change(async (change) => {
    await change.drain('a', 'c')
    writes = disks.map((disk) => disk.write(0, new Uint8Array(512).fill(1)))
    return [
      await startBackup(jobs, { device: 'a', target: 'b', sync: 'full', transaction, change }),
      await startBackup(jobs, { device: 'c', target: 'd', sync: 'full', transaction, change }),
    ]
  })
  await Promise.all((await started).map(({ finished }) => finished))
  await Promise.all(writes)
  const buf = new Uint8Array(1)
  for (const name of ['b', 'd']) {
    storages.get(name)?.read(0, buf)
    expect(buf[0]).toBe(0)
  }
})

describe('a graph that is closed', () => {
  it.each(['running', 'paused', 'ready', 'pending'])('ends a job that is %s', async (status) => {
    const { graph, jobs, faults } = await setUp()
    const source = await graph.attach('a')
    await source.write(0, new Uint8Array(size).fill(1))
    const slow = status === 'running' || status === 'paused'
    const job = await startMirror(jobs, { ...mirror, speed: slow ? 1 : 0, autoFinalize: false })
    faults.disarm()
    if (status === 'paused') job.pause()
    if (status === 'pending') {
      await reached(job, 'ready')
      job.complete()
    }
    await reached(job, status)
    await graph.close()
    if (job.status !== 'null') {
      // Nothing is left of what it worked on; it can only be cancelled.
      job.cancel()
      await expect(job.finished).rejects.toBeDefined()
    }
    expect([...graph.nodes]).toEqual([])
  })
})

it('a mirror of the top layer copies what that layer holds', async () => {
  const made = stack()
  await using graph = made.graph
  const base = await made.qcow2('base', { size })
  await base.write(0, new Uint8Array(size).fill(1))
  await base.close()
  const disk = await made.qcow2('top', { size, backing: 'base' })
  await disk.write(2 ** 18, new Uint8Array(2 ** 17).fill(2))
  await made.target('b', size)
  const jobs = new JobTable(graph)
  const job = await startMirror(jobs, { device: disk.node, target: 'b', sync: 'top' })
  await reached(job, 'ready')
  expect(job.length).toBe(2 ** 17)
  job.cancel(false)
  await job.finished
  const buf = new Uint8Array(size)
  made.storages.get('b')?.read(0, buf)
  expect([buf[0], buf[2 ** 18], buf[2 ** 18 + 2 ** 17]]).toEqual([0, 2, 0])
})

it('jobs are cancelled with the node that they work on, others go on', async () => {
  const { graph, jobs } = await setUp()
  await using _ = graph
  const first = await startMirror(jobs, { device: 'a', target: 'b', sync: 'none' })
  const second = await startMirror(jobs, { device: 'c', target: 'd', sync: 'none' })
  const [node] = first.nodes
  jobs.cancelOn(node as Node)
  await expect(first.finished).rejects.toMatchObject({ code: 'ECANCELED' })
  expect(jobs.list()).toEqual([second])
})

it('a backup of what a disk has itself copies that alone, also where there is no backing file', async () => {
  const made = stack()
  const { graph } = made
  await using _ = graph
  const jobs = new JobTable(graph)
  const disk = await made.qcow2('a', { size })
  await disk.write(65536, new Uint8Array(65536).fill(7))
  await made.target('b', size)
  const job = await startBackup(jobs, { device: disk.node, target: 'b', sync: 'top', autoDismiss: false })
  await job.finished
  expect([job.length, job.offset]).toEqual([65536, 65536])
})
