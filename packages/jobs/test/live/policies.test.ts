/** What becomes of a job whose storage fails: the events are those that QEMU 7.2 raises. */
import { Permission } from '@diskgraph/core'
import { delay } from '@diskgraph/core/driver'
import { VirtualClock } from '@diskgraph/driver-testkit'
import { type ErrorPolicy, type Job, JobTable, startBackup, startMirror, startStream } from '@diskgraph/jobs'
import { describe, expect, it } from 'vitest'
import { contentOf, stack } from '../stack.ts'
import { reached, recorded } from './events.ts'

const size = 2 ** 22

async function setUp() {
  const made = stack()
  const disk = await made.plain('a', size)
  await disk.write(0, new Uint8Array(size).fill(7))
  await made.target('b', size, true)
  return { ...made, disk, jobs: new JobTable(made.graph), events: recorded(made.graph) }
}

const starts: Readonly<Record<'mirror' | 'backup', (jobs: JobTable, policy: ErrorPolicy) => Promise<Job>>> = {
  mirror: (jobs, onTargetError) => {
    const device = [...jobs.graph.nodes][0]!
    return startMirror(jobs, { jobId: 'j', device, target: 'b', sync: 'full', onTargetError })
  },
  backup: (jobs, onTargetError) => {
    const device = [...jobs.graph.nodes][0]!
    return startBackup(jobs, { jobId: 'j', device, target: 'b', sync: 'full', onTargetError })
  },
}

describe.each(['mirror', 'backup'] as const)('a %s to storage that fails', (kind) => {
  async function started(policy: ErrorPolicy, code: 'EIO' | 'ENOSPC') {
    const made = await setUp()
    made.faults.arm({ nth: 2, code, kinds: ['write'] })
    return { ...made, job: await starts[kind](made.jobs, policy) }
  }

  it.each([
    ['report', 'EIO', 'Input/output error'],
    ['enospc', 'EIO', 'Input/output error'],
    ['report', 'ENOSPC', 'No space left on device'],
  ] as const)('ends by the policy %s and %s, and the disk stays in use', async (policy, code, message) => {
    const { graph, job, events, disk } = await started(policy, code)
    await using _ = graph
    await expect(job.finished).rejects.toMatchObject({ code })
    const from = events.indexOf('BLOCK_JOB_ERROR write report')
    expect(events.slice(from)).toEqual([
      'BLOCK_JOB_ERROR write report',
      'aborting j',
      expect.stringMatching(new RegExp(`^BLOCK_JOB_COMPLETED \\d+/${size} ${message}$`)),
      'concluded j',
      'null j',
    ])
    await disk.write(0, new Uint8Array(1))
    expect(disk.node.driver.name).toBe('memory')
  })

  it.each([
    ['stop', 'EIO', 'failed'],
    ['stop', 'ENOSPC', 'nospace'],
    ['enospc', 'ENOSPC', 'nospace'],
  ] as const)('stops by the policy %s and %s, and goes on when it is resumed', async (policy, code, ioStatus) => {
    const { graph, job, events, storages } = await started(policy, code)
    await using _ = graph
    // A backup begins in the state paused, too.
    while (!events.includes('BLOCK_JOB_ERROR write stop')) await new Promise((resolve) => setImmediate(resolve))
    await reached(job, 'paused')
    expect([job.paused, job.ioStatus]).toEqual([true, ioStatus])
    job.resume()
    expect(job.ioStatus).toBe('ok')
    if (kind === 'mirror') {
      await reached(job, 'ready')
      job.complete()
    }
    await job.finished
    const copied = new Uint8Array(size)
    storages.get('b')?.read(0, copied)
    expect(copied.every((byte) => byte === 7)).toBe(true)
  })

  it('tries again by the policy ignore', async () => {
    const { graph, job, events, storages } = await started('ignore', 'EIO')
    await using _ = graph
    if (kind === 'mirror') {
      await reached(job, 'ready')
      job.complete()
    }
    await job.finished
    expect(events).toContain('BLOCK_JOB_ERROR write ignore')
    expect(events).toContain(`BLOCK_JOB_COMPLETED ${size}/${size}`)
    const copied = new Uint8Array(size)
    storages.get('b')?.read(0, copied)
    expect(copied.every((byte) => byte === 7)).toBe(true)
  })
})

it('a mirror that cannot be completed leaves its disk in use', async () => {
  const { graph, jobs, faults, disk } = await setUp()
  await using _ = graph
  const job = await starts.mirror(jobs, 'report')
  await reached(job, 'ready')
  faults.arm({ nth: 1, code: 'EIO', kinds: ['flush'] })
  job.complete()
  await expect(job.finished).rejects.toMatchObject({ code: 'EIO' })
  expect(disk.node.driver.name).toBe('memory')
  await disk.write(5, new Uint8Array(1).fill(1))
  expect((await contentOf(disk))[5]).toBe(1)
})

it('a write whose old data cannot be kept by a backup fails, and changes nothing', async () => {
  const { graph, jobs, faults, disk, storages } = await setUp()
  await using _ = graph
  const node = disk.node
  const job = await startBackup(jobs, { device: node, target: 'b', sync: 'none' })
  faults.arm({ nth: 1, code: 'ENOSPC', kinds: ['write'] })
  await expect(disk.write(0, new Uint8Array(1).fill(1))).rejects.toMatchObject({ code: 'ENOSPC' })
  expect((await contentOf(disk))[0]).toBe(7)
  faults.disarm()
  await disk.write(0, new Uint8Array(1).fill(1))
  expect([job.offset, job.length]).toEqual([65536, size])
  const buf = new Uint8Array(1)
  storages.get('b')?.read(0, buf)
  expect(buf[0]).toBe(7)
  job.cancel()
  await job.finished.catch(() => undefined)
})

it('a mirror that writes along hands every write on before it ends', async () => {
  const { graph, jobs, disk, storages } = await setUp()
  await using _ = graph
  const job = await startMirror(jobs, { device: disk.node, target: 'b', sync: 'none', copyMode: 'write-blocking' })
  await reached(job, 'ready')
  await disk.write(1000, new Uint8Array(9).fill(3))
  await disk.writeZeroes(2 ** 20, 4096)
  const buf = new Uint8Array(9)
  storages.get('b')?.read(1000, buf)
  expect([...buf]).toEqual(Array(9).fill(3))
  expect(() => job.change({ copyMode: 'background' })).toThrow("Change to copy mode 'background' is not implemented")
  await jobs.close()
})

it('a mirror that waits to be finalized, and whose target fails then, ends with that reason', async () => {
  const { graph, jobs, disk, faults } = await setUp()
  await using _ = graph
  const mirror = { device: disk.node, target: 'b', sync: 'none', copyMode: 'write-blocking' } as const
  const job = await startMirror(jobs, { ...mirror, autoFinalize: false, onTargetError: 'report' })
  await reached(job, 'ready')
  job.complete()
  await reached(job, 'pending')
  faults.arm({ nth: 1, code: 'ENOSPC', kinds: ['write'] })
  await disk.write(0, new Uint8Array(512).fill(1))
  const ended = expect(job.finished).rejects.toMatchObject({ code: 'ENOSPC' })
  job.finalize()
  await ended
  expect((await contentOf(disk))[0]).toBe(1)
})

it('the size of a disk stays while a job copies it', async () => {
  const { graph, jobs, disk } = await setUp()
  await using _ = graph
  const job = await startMirror(jobs, { device: disk.node, target: 'b', sync: 'full' })
  await reached(job, 'ready')
  await expect(disk.truncate(2 * size)).rejects.toThrow('is busy: block device is in use by block job: mirror')
  await jobs.close()
})

it.each(['mirror', 'backup'] as const)('a %s tells of one error, however many requests fail with it', async (kind) => {
  const { graph, jobs, faults, events } = await setUp()
  await using _ = graph
  faults.arm({ nth: 1, code: 'EIO', kinds: ['write'], lasting: true })
  const job = await starts[kind](jobs, 'report')
  await expect(job.finished).rejects.toMatchObject({ code: 'EIO' })
  expect(events.filter((event) => event.startsWith('BLOCK_JOB_ERROR'))).toEqual(['BLOCK_JOB_ERROR write report'])
})

it.each(['mirror', 'backup'] as const)(
  'a %s that ignores errors asks storage that fails at once a few times a second',
  async (kind) => {
    const clock = new VirtualClock()
    const { graph, faults, ...made } = stack(clock)
    const disk = await made.plain('a', size)
    await disk.write(0, new Uint8Array(size).fill(7))
    await made.target('b', size, true)
    const jobs = new JobTable(graph)
    const events = recorded(graph)
    faults.arm({ nth: 1, code: 'EIO', kinds: ['write'], lasting: true })
    const job = await clock.run(starts[kind](jobs, 'ignore'), () => undefined)
    await clock.run(delay(clock, 1000), () => undefined)
    expect(job.status).toBe('running')
    expect(events.filter((event) => event === 'BLOCK_JOB_ERROR write ignore').length).toBeGreaterThan(20)
    expect(events.length).toBeLessThan(100)
    faults.disarm()
    const done = kind === 'mirror' ? reached(job, 'ready') : job.finished
    await clock.run(done, () => undefined)
    await clock.run(graph.close(), () => undefined)
  },
)

describe('an error that ends a job', () => {
  it('ends it for its other workers, too: nothing is tried again', async () => {
    for (const kind of ['mirror', 'backup'] as const) {
      const made = await setUp()
      await using _ = made.graph
      made.faults.arm({ nth: 4, code: 'EIO', kinds: ['write'] })
      const job = await starts[kind](made.jobs, 'report')
      await expect(job.finished).rejects.toMatchObject({ code: 'EIO' })
      expect(made.events).toContain(`BLOCK_JOB_COMPLETED ${size - 2 ** 20}/${size} Input/output error`)
    }
  })

  it('leaves counted what was copied before it, a run of content at a time', async () => {
    const made = await setUp()
    await using _ = made.graph
    await made.disk.writeZeroes(65536, 65536)
    made.faults.arm({ nth: 2, code: 'EIO', kinds: ['write'] })
    const device = made.disk.node
    const job = await startBackup(made.jobs, { jobId: 'j', device, target: 'b', sync: 'full', maxWorkers: 1 })
    await expect(job.finished).rejects.toMatchObject({ code: 'EIO' })
    expect(made.events).toContain(`BLOCK_JOB_COMPLETED ${2 * 65536}/${size} Input/output error`)
  })

  it('costs the content it came with, and what stands behind it in the same run is copied', async () => {
    const made = await setUp()
    await using _ = made.graph
    await made.disk.writeZeroes(65536, 65536)
    made.faults.arm({ nth: 1, code: 'EIO', kinds: ['write'] })
    const device = made.disk.node
    const job = await startBackup(made.jobs, { jobId: 'j', device, target: 'b', sync: 'full', maxWorkers: 1 })
    await expect(job.finished).rejects.toMatchObject({ code: 'EIO' })
    expect(made.events).toContain(`BLOCK_JOB_COMPLETED ${2 ** 20 - 65536}/${size} Input/output error`)
    const copied = new Uint8Array(2 ** 20)
    made.storages.get('b')?.read(0, copied)
    expect([0, 65535, 131072, 2 ** 20 - 1].map((at) => copied[at])).toEqual([0, 0, 7, 7])
  })

  it('that a stream ignores costs the content it came with, and every byte counts once', async () => {
    const made = stack()
    await using _ = made.graph
    const base = await made.qcow2('base', { size: 2 ** 19 })
    await base.write(0, new Uint8Array(2 ** 19).fill(7))
    await base.writeZeroes(65536, 65536)
    await base.close()
    const top = await made.qcow2('top', { size: 2 ** 19, backing: 'base', faulty: true })
    await top.read(0, new Uint8Array(1))
    made.faults.arm({ nth: 1, code: 'EIO', kinds: ['read'] })
    const jobs = new JobTable(made.graph)
    const events = recorded(made.graph)
    const job = await startStream(jobs, { jobId: 'j', device: top.node, onError: 'ignore' })
    await expect(job.finished).rejects.toMatchObject({ code: 'EIO' })
    expect(made.faults.hits.map(({ kind }) => kind)).toEqual(['read'])
    expect(events).toContain(`BLOCK_JOB_COMPLETED ${2 ** 19}/${2 ** 19} Input/output error`)
    const present = async (at: number) => (await top.status(at, 1, top.node.backing?.node))?.present
    expect([await present(0), await present(65536), await present(131072)]).toEqual([false, true, true])
  })
})

it('a mirror that waits for room goes on when its target has been reopened, which cannot become read-only', async () => {
  const made = await setUp()
  await using _ = made.graph
  made.faults.arm({ nth: 2, code: 'ENOSPC', kinds: ['write'] })
  const job = await starts.mirror(made.jobs, 'enospc')
  await reached(job, 'paused')
  await expect(made.graph.reopen('b', { readOnly: true })).rejects.toMatchObject({ code: 'EPERM' })
  await made.graph.reopen('b', { detectZeroes: 'on' })
  job.resume()
  await reached(job, 'ready')
  job.complete()
  await job.finished
})

it('others may write to the target of a backup, and not to that of a mirror', async () => {
  for (const kind of ['backup', 'mirror'] as const) {
    const made = await setUp()
    await using _ = made.graph
    const writer = made.graph.attach('b', { permissions: Permission.Write })
    await (await writer).close()
    const job = await starts[kind](made.jobs, 'report')
    const attached = made.graph.attach('b', { permissions: Permission.Write | Permission.ConsistentRead })
    if (kind === 'backup') await (await attached).close()
    else await expect(attached).rejects.toMatchObject({ code: 'EPERM' })
    job.cancel()
    await job.finished.catch(() => undefined)
  }
})
