import { Graph, Permission } from '@diskgraph/core'
import { type ChildHandle, type DriverDescriptor, Passthrough } from '@diskgraph/core/driver'
import { MemoryStorage, memoryDriver } from '@diskgraph/driver-memory'
import { nullCo } from '@diskgraph/driver-null'
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

/** Reads end when they are given up. */
class SlowImage extends Passthrough {
  begun: () => void = () => undefined

  override read(_offset: number, _buf: Uint8Array, _flags: number, signal?: AbortSignal): Promise<void> {
    this.begun()
    return new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason)))
  }
}

const slow = (begun: () => void): DriverDescriptor => ({
  name: 'slow',
  kind: 'filter',
  description: 'A disk that is never read to the end.',
  options: { file: { type: 'child', role: 'filtered', required: true, description: 'The disk' } },
  open: async ({ children }) => Object.assign(new SlowImage(children.require('file')), { begun }),
})

describe('a mirror', () => {
  it('that is cancelled waits for no read of storage that is slow', async () => {
    let isRead = (): void => undefined
    const begun = new Promise<void>((resolve) => {
      isRead = resolve
    })
    const storages = new Map([['file', new MemoryStorage(size)]])
    storages.get('file')?.write(0, new Uint8Array(size).fill(1))
    await using graph = new Graph({ drivers: [nullCo, memoryDriver(storages), slow(isRead)] })
    const jobs = new JobTable(graph)
    await graph.addNode({ driver: 'memory', nodeName: 'file', name: 'file' })
    const device = await graph.addNode({ driver: 'slow', nodeName: 'slow', file: 'file' })
    const target = await graph.addNode({ driver: 'null-co', nodeName: 'target', size })
    const job = await startMirror(jobs, { jobId: 'j0', device, target, sync: 'full' })
    await reached(job, 'running')
    await begun
    job.cancel()
    await expect(job.finished).rejects.toMatchObject({ code: 'ECANCELED' })
  }, 5000)

  it('of the active layer alone copies whole clusters of a target that has no backing file meanwhile', async () => {
    const { graph, jobs, ...make } = await setUp()
    await using _ = graph
    const base = await make.qcow2('base', { size })
    await base.write(0, new Uint8Array(size).fill(1))
    await base.close()
    const disk = await make.qcow2('overlay', { size, backing: 'base' })
    await disk.write(mebibyte + 65536, new Uint8Array(512).fill(2))
    await (await make.qcow2('target', { size, clusterSize: 131072 })).close()
    const file = { driver: 'memory', name: 'target' }
    const target = await graph.addNode({ driver: 'qcow2', nodeName: 'target', backing: null, file } as never)
    const settings = { device: disk.node, target, sync: 'top', targetBacking: 'source' } as const
    const job = await startMirror(jobs, { ...settings, jobId: 'j', copyMode: 'write-blocking' })
    await reached(job, 'ready')
    await disk.write(2 * mebibyte, new Uint8Array(512).fill(3))
    const expected = await contentOf(disk)
    job.complete()
    await job.finished
    expect(disk.node).toBe(target)
    expect(Buffer.compare(await contentOf(disk), expected)).toBe(0)
  })

  it('shows what is left to be copied as a bitmap of the disk, for as long as it is there', async () => {
    const { graph, jobs, ...make } = await setUp()
    await using _ = graph
    const disk = await make.plain('a', size)
    const { node } = disk
    const target = await make.target('b', size)
    const settings = { device: node, target, sync: 'full' } as const
    const job = await startMirror(jobs, { ...settings, jobId: 'j', speed: mebibyte })
    expect(node.dirtyBitmaps).toMatchObject([{ name: undefined, enabled: true, busy: false, granularity: 65536 }])
    expect(node.dirtyBitmaps[0]?.dirtyBytes).toBeGreaterThan(mebibyte)
    job.change({ copyMode: 'write-blocking' })
    expect(node.dirtyBitmaps[0]?.enabled).toBe(false)
    job.cancel()
    await job.finished.catch(() => undefined)
    expect(node.dirtyBitmaps).toEqual([])
    const next = await startMirror(jobs, { ...settings, jobId: 'k' })
    await reached(next, 'ready')
    next.complete()
    await next.finished
    expect([node.dirtyBitmaps, disk.node.dirtyBitmaps]).toEqual([[], []])
  })

  it('copies what was being written when writes began to go along', async () => {
    const gates = new Map<string, () => void>()
    const holding = (name: string): DriverDescriptor => ({
      name,
      kind: 'filter',
      description: 'A disk whose writes wait at a gate, if there is one.',
      options: { file: { type: 'child', role: 'filtered', required: true, description: 'The disk' } },
      open: async ({ children }) => new Held(children.require('file'), name),
    })
    const wanted = new Set<string>()
    class Held extends Passthrough {
      readonly #name: string

      constructor(file: ChildHandle, name: string) {
        super(file)
        this.#name = name
      }

      override async write(...given: Parameters<Passthrough['write']>): Promise<void> {
        if (wanted.delete(this.#name)) await new Promise<void>((resolve) => gates.set(this.#name, resolve))
        await super.write(...given)
      }
    }
    await using graph = new Graph({ drivers: [holding('source'), holding('copy'), memoryDriver()] })
    const jobs = new JobTable(graph)
    const file = { driver: 'memory', size }
    const disk = await graph.addUnchecked({ driver: 'source', file })
    const target = await graph.addNode({ driver: 'copy', nodeName: 'target', file })
    const job = await startMirror(jobs, { jobId: 'j', device: disk.node, target, sync: 'full' })
    await reached(job, 'ready')
    wanted.add('source')
    const first = disk.write(0, new Uint8Array(4096).fill(1))
    job.change({ copyMode: 'write-blocking' })
    wanted.add('copy')
    const second = disk.write(0, new Uint8Array(65536).fill(2))
    await new Promise((resolve) => setTimeout(resolve, 20))
    gates.get('source')?.()
    await first
    while (!gates.has('copy')) await new Promise((resolve) => setTimeout(resolve, 1))
    gates.get('copy')?.()
    await second
    const expected = await contentOf(disk)
    job.complete()
    await job.finished
    expect(disk.node).toBe(target)
    expect(Buffer.compare(await contentOf(disk), expected)).toBe(0)
  })

  it('goes over with those, too, who have come to the disk itself meanwhile', async () => {
    const { graph, jobs, ...make } = await setUp()
    await using _ = graph
    const [device, target] = [await make.target('a', size), await make.target('b', size)]
    const job = await startMirror(jobs, { jobId: 'j', device, target, sync: 'full' })
    await reached(job, 'ready')
    const late = await graph.attach(device, { permissions: Permission.ConsistentRead })
    job.complete()
    await job.finished
    expect(late.node).toBe(target)
  })

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
