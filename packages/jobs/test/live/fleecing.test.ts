import { type Disk, type Node, Permission } from '@diskgraph/core'
import { Random, randomSeed } from '@diskgraph/driver-testkit'
import { type Job, JobTable, startBackup } from '@diskgraph/jobs'
import { describe, expect, it } from 'vitest'
import { contentOf, type Stack, stack } from '../stack.ts'
import { reached } from './events.ts'

const size = 2 ** 20

interface Fleecing extends Stack {
  readonly disk: Disk
  readonly job: Job
  /** Whose backing file is the disk. */
  readonly scratch: Node
  readonly before: Uint8Array
}

/** A backup of what is about to change into an image that has the disk as its backing file. */
async function fleecing(seed = 1): Promise<Fleecing> {
  const made = stack()
  const { graph } = made
  const disk = await made.plain('a', size, true)
  await disk.write(0, new Random(seed).bytes(size))
  const before = await contentOf(disk)
  const file = { driver: 'memory', name: 'scratch' }
  await graph.createUnchecked({ driver: 'qcow2', size, file })
  const scratch = await graph.addNode({ driver: 'qcow2', nodeName: 'scratch', file, backing: disk.node })
  const jobs = new JobTable(graph)
  const job = await startBackup(jobs, { device: disk.node, target: scratch, sync: 'none' })
  return { ...made, disk, job, scratch, before }
}

describe('fleecing', () => {
  const seed = randomSeed()
  it(`shows the disk as it was to whoever reads the target, while guests write and storage is late (seed ${seed})`, async () => {
    const { graph, disk, scratch, before, faults } = await fleecing(seed)
    await using _ = graph
    const random = new Random(seed)
    faults.jitter = random.fork()
    const { ConsistentRead, All, BackingChange } = Permission
    const reader = await graph.attach(scratch, { permissions: ConsistentRead, shared: All | BackingChange })
    const requests: Promise<void>[] = []
    for (let i = 0; i < 300; i++) {
      const offset = random.below(size / 4)
      const buf = new Uint8Array(random.between(1, 100_000))
      if (random.chance(0.5)) requests.push(disk.write(offset, buf.fill(i)))
      else {
        const read = reader.read(offset, buf)
        requests.push(
          read.then(() => expect(Buffer.compare(buf, before.subarray(offset, offset + buf.length))).toBe(0)),
        )
      }
    }
    await Promise.all(requests)
    expect(Buffer.compare(await contentOf(reader), before)).toBe(0)
    expect(Buffer.compare(await contentOf(disk), before)).not.toBe(0)
  })

  it('ends with the disk as guests left it, and the target free again', async () => {
    const { graph, disk, job, scratch } = await fleecing()
    await using _ = graph
    await reached(job, 'running')
    await disk.write(0, new Uint8Array(5).fill(7))
    job.cancel()
    await expect(job.finished).rejects.toMatchObject({ code: 'ECANCELED' })
    expect((await contentOf(disk))[0]).toBe(7)
    expect(scratch.readFollowers).toBe(0)
    await graph.remove(scratch)
  })

  it('is refused to a writer of the disk that passes the job by', async () => {
    const { graph } = await fleecing()
    await using _ = graph
    const node = [...graph.nodes].find(({ driver }) => driver.name === 'testkit-fault') as Node
    await expect(graph.attach(node)).rejects.toMatchObject({ code: 'EPERM' })
  })
})
