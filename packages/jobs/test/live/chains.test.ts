import { Disk, type Node, Permission } from '@diskgraph/core'
import { backingReference } from '@diskgraph/core/internal'
import { JobTable, startAmend, startCommit, startCreate, startStream } from '@diskgraph/jobs'
import { describe, expect, it } from 'vitest'
import { contentOf, type Stack, stack } from '../stack.ts'
import { reached, recorded } from './events.ts'

const mebibyte = 2 ** 20
const size = 4 * mebibyte

interface Chain extends Stack {
  readonly jobs: JobTable
  readonly events: string[]
  readonly disk: Disk
  /** From the top down. */
  readonly layers: readonly Node[]
}

/** base (all 1) ← mid (2 in the second MiB) ← top (3 in the third). */
async function chain(baseSize = size, midSize = size): Promise<Chain> {
  const made = stack()
  const { graph } = made
  const fill = async (name: string, at: number, length: number, value: number, own: number, backing?: string) => {
    const disk = await made.qcow2(name, { size: own, ...(backing !== undefined && { backing }) })
    await disk.write(at, new Uint8Array(length).fill(value))
    await disk.close()
  }
  await fill('base', 0, baseSize, 1, baseSize)
  await fill('mid', mebibyte, mebibyte, 2, midSize, 'base')
  await fill('top', 2 * mebibyte, mebibyte, 3, size, 'mid')
  const qcow2 = (name: string, backing?: object) => ({
    driver: 'qcow2',
    nodeName: name,
    file: { driver: 'memory', name },
    ...(backing === undefined ? {} : { backing }),
  })
  const disk = await graph.addUnchecked(qcow2('top', qcow2('mid', qcow2('base'))))
  const layers = ['top', 'mid', 'base'].map((name) => graph.find(name) as Node)
  return { ...made, jobs: new JobTable(graph), events: recorded(graph), disk, layers }
}

const names = (node: Node): string[] => [node.name, ...(node.backing === undefined ? [] : names(node.backing.node))]
const at = (buf: Uint8Array, ...places: number[]): (number | undefined)[] => places.map((mb) => buf[mb * mebibyte])

describe('where a layer in the middle has ended', () => {
  const expected = [1, 2, 3, 0]

  it('there are zeroes after it has been committed into a longer base', async () => {
    const { graph, jobs, disk } = await chain(size, 2 * mebibyte)
    await using _ = graph
    expect(at(await contentOf(disk), 0, 1, 2, 3)).toEqual(expected)
    await (await startCommit(jobs, { device: 'top', topNode: 'mid', baseNode: 'base' })).finished
    expect(names(disk.node)).toEqual(['top', 'base'])
    expect(at(await contentOf(disk), 0, 1, 2, 3)).toEqual(expected)
  })

  it('there are zeroes after a stream that leaves a longer base', async () => {
    const { graph, jobs, disk } = await chain(size, 2 * mebibyte)
    await using _ = graph
    await (await startStream(jobs, { device: 'top', baseNode: 'base' })).finished
    expect(names(disk.node)).toEqual(['top', 'base'])
    expect(at(await contentOf(disk), 0, 1, 2, 3)).toEqual(expected)
  })

  it('there are zeroes after the active layer has been committed into a longer base', async () => {
    const { graph, jobs, disk } = await chain(size, 2 * mebibyte)
    await using _ = graph
    const job = await startCommit(jobs, { device: 'top', baseNode: 'base' })
    await reached(job, 'ready')
    job.complete()
    await job.finished
    expect(names(disk.node)).toEqual(['base'])
    expect(at(await contentOf(disk), 0, 1, 2, 3)).toEqual(expected)
  })
})

class NamedDevice extends Disk {
  readonly deviceName = 'drive0'
}

describe('jobs of one chain', () => {
  const busy = (name: string, type: string): string =>
    `Node '${name}' is busy: block device is in use by block job: ${type}`

  it('do not overlap: a stream keeps others from its layers, and from the one that records their names', async () => {
    const { graph, jobs } = await chain()
    await using _ = graph
    const job = await startStream(jobs, { device: 'mid', speed: 1 })
    await expect(startCommit(jobs, { device: 'top', topNode: 'mid' })).rejects.toThrow(/is busy: .* block job: stream/)
    await expect(startStream(jobs, { device: 'top' })).rejects.toThrow(/is busy: .* block job: stream/)
    job.cancel()
    await job.finished.catch(() => undefined)
  })

  it('do not overlap: a commit keeps others from its layers, whatever its filter is called', async () => {
    const { graph, jobs } = await chain()
    await using _ = graph
    const inner = await startCommit(jobs, { device: 'top', topNode: 'mid', speed: 1 })
    await expect(startStream(jobs, { device: 'mid' })).rejects.toThrow(busy('mid', 'commit'))
    inner.cancel()
    await inner.finished.catch(() => undefined)
    await startCommit(jobs, { device: 'top', speed: 1 })
    await expect(startStream(jobs, { device: 'mid' })).rejects.toThrow(busy('mid', 'commit'))
    await expect(graph.removeFilter('mid')).rejects.toThrow("node 'mid' is not a filter")
  })

  it('are refused by the name of the device that uses a busy node', async () => {
    const { graph, jobs, disk } = await chain()
    await using _ = graph
    const permissions = { permissions: Permission.ConsistentRead, shared: Permission.All }
    const user = new NamedDevice(graph, disk.node, { description: 'd0', permissions })
    await graph.attachRoot(user, { permissions })
    const inner = await startCommit(jobs, { device: 'top', topNode: 'mid', speed: 1 })
    await expect(startStream(jobs, { device: 'top' })).rejects.toThrow(busy('drive0', 'commit'))
    inner.cancel()
    await inner.finished.catch(() => undefined)
    await graph.detachRoot(user)
  })

  it('are refused where the layer above the committed ones is busy: it is to record another name', async () => {
    const { graph, jobs, layers, ...make } = await chain()
    await using _ = graph
    const [, mid] = layers as [Node, Node, Node]
    await (await make.qcow2('lower', { size })).close()
    const lowest = await graph.addNode({
      driver: 'qcow2',
      nodeName: 'lower',
      file: { driver: 'memory', name: 'lower' },
    })
    await graph.change(async (change) => change.setBacking(graph.find('base') as Node, lowest))
    await (await make.qcow2('over', { size })).close()
    const over = {
      driver: 'qcow2',
      nodeName: 'over',
      file: { driver: 'memory', name: 'over' },
      backing: 'top',
    } as const
    await graph.addNode(over)
    const copying = await startStream(jobs, { device: 'top', bottom: 'mid', speed: 1 })
    const commit = startCommit(jobs, { device: 'over', topNode: 'base', baseNode: 'lower' })
    await expect(commit).rejects.toThrow(busy('mid', 'stream'))
    copying.cancel()
    await copying.finished.catch(() => undefined)
    expect(mid.blockers.size).toBe(0)
  })

  it('write to no image whose storage was told itself to be read-only', async () => {
    const made = await chain()
    await using _ = made.graph
    const { graph, jobs } = made
    const image = (name: string, file: object, backing?: string): Promise<Node> =>
      graph.addNode({
        driver: 'qcow2',
        nodeName: `ro-${name}`,
        readOnly: true,
        file: { driver: 'memory', name, ...file },
        ...(backing === undefined ? {} : { backing }),
      } as never)
    await made.disk.close()
    await image('base', {})
    await image('mid', { readOnly: true }, 'ro-base')
    await expect(startStream(jobs, { device: 'ro-mid' })).rejects.toThrow('Block node is read-only')
    await image('top', {}, 'ro-mid')
    await expect(startCommit(jobs, { device: 'ro-top', baseNode: 'ro-mid' })).rejects.toThrow('Block node is read-only')
    await (await startStream(jobs, { device: 'ro-top', baseNode: 'ro-mid' })).finished
    expect(graph.find('ro-top')?.readOnly).toBe(true)
  })
})

describe('a stream', () => {
  it('keeps what guests read meanwhile', async () => {
    const { graph, jobs, disk } = await chain()
    await using _ = graph
    const job = await startStream(jobs, { device: 'top', speed: 1 })
    await disk.read(3 * mebibyte + 5, new Uint8Array(10))
    const own = await graph.find('top')?.blockStatus(3 * mebibyte, 65536)
    expect(own).toMatchObject({ allocated: true, length: 65536 })
    job.setSpeed(0)
    await job.finished
    expect(at(await contentOf(disk), 0, 1, 2, 3)).toEqual([1, 2, 3, 1])
  })

  it('leaves an image writable that was read-only where somebody writes to it by now, and says so', async () => {
    const warnings: string[] = []
    const made = await chain()
    await using _ = made.graph
    const { graph, jobs, disk } = made
    await disk.close()
    const backing = { driver: 'qcow2', file: { driver: 'memory', name: 'mid' } }
    const file = { driver: 'memory', name: 'top' }
    const node = await graph.addNode({ driver: 'qcow2', nodeName: 'ro', readOnly: true, file, backing } as never)
    Object.assign(node, { warn: (message: string) => warnings.push(message) })
    const job = await startStream(jobs, { device: 'ro', speed: 1 })
    const { Write, ConsistentRead } = Permission
    await using writer = await graph.attach('ro', { permissions: Write | ConsistentRead })
    job.setSpeed(0)
    await job.finished
    expect(warnings).toEqual([expect.stringMatching(/^node 'ro' stays writable: /)])
    await writer.write(0, new Uint8Array(512))
    expect(node.backing).toBeUndefined()
  })

  it('is refused while somebody writes to a layer that goes', async () => {
    const { graph, jobs, events, ...make } = await chain()
    await using _ = graph
    const base = await make.qcow2('lower', { size })
    await (await make.qcow2('upper', { size, backing: 'lower' })).close()
    await graph.addNode({
      driver: 'qcow2',
      nodeName: 'upper',
      file: { driver: 'memory', name: 'upper' },
      backing: base.node,
    })
    const { name } = base.node
    await expect(startStream(jobs, { jobId: 's', device: 'upper' })).rejects.toThrow(
      `Permission conflict on node '${name}': permissions 'write' are both required by ${base.describe()} (uses node ` +
        `'${name}' as 'root' child) and unshared by stream job 's' (uses node '${name}' as 'intermediate node' child).`,
    )
    expect(events).toEqual(['created s', 'null s'])
    await base.write(0, new Uint8Array(512))
  })

  it('brings everything into the disk, which has no backing file then', async () => {
    const { graph, jobs, disk, events } = await chain()
    await using _ = graph
    const job = await startStream(jobs, { jobId: 's', device: 'top' })
    await disk.write(0, new Uint8Array(5).fill(9))
    await job.finished
    expect(names(disk.node)).toEqual(['top'])
    expect(graph.find('base')).toBe(undefined)
    expect(at(await contentOf(disk), 0, 1, 2, 3)).toEqual([9, 2, 3, 1])
    expect((await disk.info()).backingFilename).toBe(undefined)
    expect(events).toContain(`BLOCK_JOB_COMPLETED ${size}/${size}`)
  })

  it('keeps a base, and records its name', async () => {
    const { graph, jobs, disk } = await chain()
    await using _ = graph
    await (await startStream(jobs, { device: disk.node, baseNode: 'base' })).finished
    expect(names(disk.node)).toEqual(['top', 'base'])
    expect(at(await contentOf(disk), 0, 1, 2, 3)).toEqual([1, 2, 3, 1])
    expect(await disk.info()).toMatchObject({ backingFilename: 'memory:base', backingFormat: 'qcow2' })
  })

  it('goes into a layer in the middle, which is read-only again then', async () => {
    const { graph, jobs, disk, layers } = await chain()
    await using _ = graph
    await (await startStream(jobs, { device: 'mid' })).finished
    expect(names(disk.node)).toEqual(['top', 'mid'])
    expect(layers[1]?.readOnly).toBe(true)
    expect(at(await contentOf(disk), 0, 1, 2, 3)).toEqual([1, 2, 3, 1])
  })

  it('that is cancelled leaves the chain as it is', async () => {
    const { graph, jobs, disk } = await chain()
    await using _ = graph
    const job = await startStream(jobs, { device: 'top', speed: 1 })
    job.cancel()
    await expect(job.finished).rejects.toMatchObject({ code: 'ECANCELED' })
    expect(names(disk.node)).toEqual(['top', 'mid', 'base'])
    expect(at(await contentOf(disk), 0, 1, 2, 3)).toEqual([1, 2, 3, 1])
  })

  it('keeps other jobs off its layers', async () => {
    const { graph, jobs } = await chain()
    await using _ = graph
    const job = await startStream(jobs, { device: 'top', speed: 1 })
    const busy = "Node 'top' is busy: block device is in use by block job: stream"
    await expect(startStream(jobs, { device: 'top' })).rejects.toThrow(busy)
    job.cancel()
    await job.finished.catch(() => undefined)
  })

  it.each([
    [{ base: 'x', baseNode: 'base' }, "'base' and 'base-node' cannot be specified at the same time"],
    [{ bottom: 'mid', baseNode: 'base' }, "'bottom' and 'base-node' cannot be specified at the same time"],
    [{ base: 'nope' }, "Can't find 'nope' in the backing chain"],
    [{ baseNode: 'nope' }, "Cannot find device='' nor node-name='nope'"],
    [{ baseNode: 'top' }, "Node 'top' is not a backing image of 'top'"],
    [{ backingFile: 'x' }, 'backing file specified, but streaming the entire chain'],
  ])('refuses %j', async (options, message) => {
    const { graph, jobs } = await chain()
    await using _ = graph
    await expect(startStream(jobs, { device: 'top', ...options })).rejects.toThrow(message)
    expect(jobs.list()).toEqual([])
  })
})

describe('a commit', () => {
  it('of a layer in the middle goes on below the disk', async () => {
    const { graph, jobs, disk, layers, events } = await chain(2 * mebibyte)
    await using _ = graph
    const job = await startCommit(jobs, { jobId: 'c', device: 'top', topNode: 'mid' })
    await disk.write(0, new Uint8Array(5).fill(9))
    await job.finished
    expect(names(disk.node)).toEqual(['top', 'base'])
    expect(layers[2]).toMatchObject({ readOnly: true, size })
    expect(at(await contentOf(disk), 0, 1, 2, 3)).toEqual([9, 2, 3, 0])
    expect((await disk.info()).backingFilename).toBe('memory:base')
    expect(events).toContain(`BLOCK_JOB_COMPLETED ${size}/${size}`)
    expect(events).not.toContain('ready c')
  })

  it('of the active layer lets the users go over to the base', async () => {
    const { graph, jobs, disk, layers } = await chain()
    await using _ = graph
    const job = await startCommit(jobs, { device: 'top' })
    await reached(job, 'ready')
    expect([job.offset, job.length]).toEqual([2 * mebibyte, 2 * mebibyte])
    await disk.write(0, new Uint8Array(5).fill(9))
    job.complete()
    await job.finished
    expect(names(disk.node)).toEqual(['base'])
    expect(layers[2]?.readOnly).toBe(false)
    expect(at(await contentOf(disk), 0, 1, 2, 3)).toEqual([9, 2, 3, 1])
    await disk.write(0, new Uint8Array(5).fill(8))
  })

  it('that is cancelled leaves the base read-only and the chain as it is', async () => {
    const { graph, jobs, disk, layers } = await chain()
    await using _ = graph
    const job = await startCommit(jobs, { device: 'top', baseNode: 'mid' })
    await reached(job, 'ready')
    job.cancel()
    await job.finished.catch(() => undefined)
    expect(names(disk.node)).toEqual(['top', 'mid', 'base'])
    expect(layers[1]?.readOnly).toBe(true)
    expect(at(await contentOf(disk), 0, 1, 2, 3)).toEqual([1, 2, 3, 1])
  })

  it.each([
    [{ baseNode: 'nope' }, "Cannot find device='' nor node-name='nope'"],
    [{ topNode: 'nope' }, "Cannot find device='' nor node-name='nope'"],
    [{ topNode: 'base' }, 'cannot commit an image into itself'],
    [{ baseNode: 'top' }, 'cannot commit an image into itself'],
    [{ base: 'x' }, "Can't find 'x' in the backing chain"],
    [{ top: 'x' }, 'Top image file x not found'],
    [{ top: 'x', topNode: 'mid' }, "'top-node' and 'top' are mutually exclusive"],
    [{ base: 'x', baseNode: 'mid' }, "'base-node' and 'base' are mutually exclusive"],
    [{ baseNode: 'mid', topNode: 'base' }, "'mid' is not in this backing file chain"],
    [{ backingFile: 'foo' }, "'backing-file' specified, but 'top' is the active layer"],
    [{ speed: -1 }, "Parameter 'speed' expects a non-negative value"],
  ])('refuses %j', async (options, message) => {
    const { graph, jobs, layers } = await chain()
    await using _ = graph
    await expect(startCommit(jobs, { device: 'top', ...options })).rejects.toThrow(message)
    expect(jobs.list()).toEqual([])
    expect(layers[2]?.readOnly).toBe(true)
  })
})

describe('a job of one step', () => {
  it('makes an image, and stays until it is dismissed', async () => {
    const { graph, jobs, events } = await chain()
    await using _ = graph
    const options = { driver: 'qcow2', size: mebibyte, file: { driver: 'memory', name: 'new' } }
    const job = await startCreate(jobs, { jobId: 'cr', options })
    await job.finished
    expect(events).toEqual(['created cr', 'running cr', 'waiting cr', 'pending cr', 'concluded cr'])
    expect([job.offset, job.length, job.error]).toEqual([1, 1, undefined])
    job.dismiss()
    expect(jobs.get('cr')).toBe(undefined)
  })

  it('tells why it failed', async () => {
    const { graph, jobs, events } = await chain()
    await using _ = graph
    const options = { driver: 'qcow2', size: mebibyte, clusterSize: 1000, file: { driver: 'memory', name: 'new' } }
    const job = await startCreate(jobs, { jobId: 'cr', options })
    await expect(job.finished).rejects.toMatchObject({ code: 'EINVAL' })
    expect(events).toEqual(['created cr', 'running cr', 'aborting cr', 'concluded cr'])
    expect(job.error).toMatch(/cluster size/i)
  })

  it('changes an image in place', async () => {
    const { graph, jobs, disk } = await chain()
    await using _ = graph
    const job = await startAmend(jobs, { node: 'top', options: { driver: 'qcow2', lazyRefcounts: true } })
    await job.finished
    expect((await disk.info()).specific?.data).toMatchObject({ lazyRefcounts: true })
    await expect(startAmend(jobs, { node: 'top', options: { driver: 'raw' } })).rejects.toThrow(
      "x-blockdev-amend doesn't support changing the block driver",
    )
  })
})

describe('a stream down to the filter of a commit', () => {
  /** l0 ← l1 ← l2 ← l3 ← l4: l1 goes down into l0, l2 up into l3. */
  async function both() {
    const made = stack()
    const qcow2 = (name: string, backing?: object) => ({
      driver: 'qcow2',
      nodeName: name,
      file: { driver: 'memory', name },
      ...(backing === undefined ? {} : { backing }),
    })
    for (const i of [0, 1, 2, 3, 4]) {
      const layer = await made.qcow2(`l${i}`, { size, ...(i > 0 && { backing: `l${i - 1}` }) })
      if (i < 4) await layer.write(i * mebibyte, new Uint8Array((4 - i) * mebibyte).fill(i + 1))
      await layer.close()
    }
    const disk = await made.graph.addUnchecked(qcow2('l4', qcow2('l3', qcow2('l2', qcow2('l1', qcow2('l0'))))))
    const jobs = new JobTable(made.graph)
    const down = { device: 'l4', topNode: 'l1', baseNode: 'l0', filterNodeName: 'f', autoFinalize: false }
    const commit = await startCommit(jobs, down)
    const stream = await startStream(jobs, { device: 'l3', baseNode: 'f', speed: 1 })
    await reached(commit, 'pending')
    return { graph: made.graph, disk, jobs, commit, stream }
  }

  it.each(['commit', 'stream'])('leaves the base alone below the disk when the %s ends first', async (first) => {
    const { graph, disk, commit, stream } = await both()
    await using _ = graph
    if (first === 'commit') await commit.finalize()
    stream.setSpeed(0)
    await stream.finished
    if (first === 'stream') await commit.finalize()
    await commit.finished
    expect(names(disk.node)).toEqual(['l4', 'l3', 'l0'])
    expect(at(await contentOf(disk), 0, 1, 2, 3)).toEqual([1, 2, 3, 4])
    expect(await graph.find('l3')?.info()).toMatchObject({ backingFilename: 'memory:l0' })
    expect([...graph.nodes].filter(({ driver }) => driver.kind !== 'protocol')).toHaveLength(3)
  })

  it('is refused by the name of the layer below the filter', async () => {
    const { graph, jobs, commit, stream } = await both()
    await using _ = graph
    stream.cancel()
    await stream.finished.catch(() => undefined)
    await expect(startStream(jobs, { device: 'l3', baseNode: 'l1' })).rejects.toThrow(
      "Cannot freeze 'backing' link to 'f'",
    )
    commit.cancel()
  })
})

it('a layer is found by the name that tells its backing file, where that is not the one that its image records', async () => {
  const { graph, jobs, disk } = await chain()
  await using _ = graph
  await disk.close()
  const file = (name: string) => ({ driver: 'memory', name })
  const base = { driver: 'null-co', size, nodeName: 'empty', readOnly: true }
  const mid = { driver: 'qcow2', nodeName: 'mid', file: file('mid'), backing: base }
  const top = await graph.addUnchecked({ driver: 'qcow2', nodeName: 'top', file: file('top'), backing: mid })
  const shown = await backingReference(graph.find('mid') as Node)
  expect(shown).toContain('null-co')
  await (await startStream(jobs, { device: 'top', base: shown })).finished
  const refused = startCommit(jobs, { device: 'top', top: shown.replace('null-co', 'null-aio') })
  await expect(refused).rejects.toThrow('Top image file')
  expect(names(top.node)).toEqual(['top', 'mid', 'empty'])
  const job = await startCommit(jobs, { device: 'top', top: shown, baseNode: 'empty', speed: 1 })
  job.cancel()
  await expect(job.finished).rejects.toMatchObject({ code: 'ECANCELED' })
})
