/** Jobs on chains that have filters: those of users, and those that jobs put in. */
import { type Disk, type DriverDescriptor, Graph, type Node } from '@diskgraph/core'
import { Passthrough } from '@diskgraph/core/driver'
import { backingReference, shownFilename } from '@diskgraph/core/internal'
import { file } from '@diskgraph/driver-file'
import { type MemoryStorage, memoryDriver } from '@diskgraph/driver-memory'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { TempFolder } from '@diskgraph/driver-testkit'
import { JobTable, startCommit, startMirror, startStream } from '@diskgraph/jobs'
import { describe, expect, it, vi } from 'vitest'
import { reached } from './events.ts'

const size = 2 ** 20

const plainFilter: DriverDescriptor = {
  name: 'plain',
  kind: 'filter',
  description: 'does nothing',
  options: { file: { type: 'child', role: 'filtered', required: true, description: 'what it stands over' } },
  open: async ({ children }) => new Passthrough(children.require('file')),
}

const overMemory = (name: string, more: object = {}): Record<string, unknown> => ({
  driver: 'qcow2',
  nodeName: name,
  file: { driver: 'memory', name },
  ...more,
})
const filter = (nodeName: string, below: object): Record<string, unknown> => ({
  driver: 'plain',
  nodeName,
  file: below,
})

/** top-filter → top ← mid ← base-filter → base, where each image has a byte of its own. */
async function setUp(): Promise<{ graph: Graph; jobs: JobTable; disk: Disk }> {
  const graph = new Graph({ drivers: [memoryDriver(new Map<string, MemoryStorage>()), qcow2, plainFilter] })
  for (const [index, name] of ['base', 'mid', 'top'].entries()) {
    await graph.createUnchecked({ driver: 'qcow2', size, file: { driver: 'memory', name } })
    await using disk = await graph.addUnchecked(overMemory(name))
    await disk.write(index * 65536, new Uint8Array(65536).fill(index + 1))
  }
  const base = filter('base-filter', overMemory('base'))
  const chain = overMemory('top', { backing: overMemory('mid', { backing: base }) })
  const disk = await graph.addUnchecked(filter('top-filter', chain))
  return { graph, jobs: new JobTable(graph), disk }
}

const names = (node: Node): string[] => [node.name, ...[...node.children.values()].flatMap((edge) => names(edge.node))]
const chainOf = (disk: Disk): string[] => names(disk.node).filter((name) => !name.startsWith('#'))

async function bytesOf(disk: Disk): Promise<(number | undefined)[]> {
  const buf = new Uint8Array(3 * 65536)
  await disk.read(0, buf)
  return [buf[0], buf[65536], buf[2 * 65536]]
}

describe('a commit into a base with a filter over it', () => {
  it.each([
    ['takes the filter out, when the image is meant', 'base', ['top-filter', 'top', 'base']],
    ['leaves the filter, when it is the base', 'base-filter', ['top-filter', 'top', 'base-filter', 'base']],
    ['means the image by default', undefined, ['top-filter', 'top', 'base']],
  ])('%s', async (_what, baseNode, expected) => {
    const { graph, jobs, disk } = await setUp()
    await using _ = graph
    await (await startCommit(jobs, { device: 'top-filter', topNode: 'mid', baseNode })).finished
    expect(chainOf(disk)).toEqual(expected)
    expect(await bytesOf(disk)).toEqual([1, 2, 3])
  })
})

it.each([
  ['inner', 'mid'],
  ['active', undefined],
])('an %s commit does not read the base through a filter over it', async (_what, topNode) => {
  const { graph, jobs, disk } = await setUp()
  await using _ = graph
  const { image } = graph.find('base-filter') as Node
  const reads = vi.spyOn(image, 'read')
  const job = await startCommit(jobs, { device: 'top-filter', topNode })
  if (topNode === undefined) {
    await reached(job, 'ready')
    job.complete()
  }
  await job.finished
  expect(reads).not.toHaveBeenCalled()
  expect(await bytesOf(disk)).toEqual([1, 2, 3])
})

it.each([
  ['the image below the filter', { topNode: 'top' }, ['top-filter', 'mid', 'base-filter', 'base']],
  ['the filter and the image', {}, ['mid', 'base-filter', 'base']],
])('an active commit lets the users of its top go over to the base: %s', async (_what, options, expected) => {
  const { graph, jobs, disk } = await setUp()
  await using _ = graph
  const job = await startCommit(jobs, { device: 'top-filter', baseNode: 'mid', ...options })
  await reached(job, 'ready')
  job.complete()
  await job.finished
  expect(chainOf(disk)).toEqual(expected)
  expect(await bytesOf(disk)).toEqual([1, 2, 3])
})

describe('the filter of a job', () => {
  const below = async (node: Node): Promise<unknown> => {
    const name = await shownFilename(node)
    return JSON.parse(name.slice('json:'.length)).backing
  }

  it('is left out of the names of layers above, unless it was given a name', async () => {
    for (const filterNodeName of [undefined, 'mine']) {
      const { graph, jobs } = await setUp()
      await using _ = graph
      const top = graph.find('top') as Node
      const before = await below(top)
      const options = { device: 'top-filter', topNode: 'mid', baseNode: 'base', speed: 1, filterNodeName }
      const job = await startCommit(jobs, options)
      expect(await below(top)).toEqual(
        filterNodeName === undefined
          ? before
          : { driver: 'commit_top', backing: expect.objectContaining(before as object) },
      )
      job.cancel()
      await job.finished.catch(() => undefined)
    }
  })

  it('is in no name that an image records', async () => {
    const { graph, jobs } = await setUp()
    await using _ = graph
    const top = graph.find('top') as Node
    const before = await backingReference(top)
    const inner = await startStream(jobs, { device: 'mid', baseNode: 'base', speed: 1, filterNodeName: 'mine' })
    expect(await backingReference(top)).toBe(before)
    expect(await shownFilename(top)).toContain('copy-on-read')
    inner.cancel()
    await inner.finished.catch(() => undefined)
  })

  it('stands for what it is over where layers are told', async () => {
    for (const filterNodeName of [undefined, 'mine']) {
      const { graph, jobs, disk } = await setUp()
      await using _ = graph
      await graph.createUnchecked({ driver: 'qcow2', size, file: { driver: 'memory', name: 'copy' } })
      await graph.addNode(overMemory('copy') as never)
      const job = await startMirror(jobs, { device: 'top-filter', target: 'copy', sync: 'none', filterNodeName })
      expect(disk.node.driver.name).toBe('mirror_top')
      expect(disk.node.shown.name).toBe(filterNodeName ?? 'top-filter')
      job.cancel()
      await job.finished.catch(() => undefined)
    }
  })
})

describe('layers are found by names', () => {
  async function images(folder: TempFolder): Promise<{ graph: Graph; jobs: JobTable; disk: Disk }> {
    const graph = new Graph({ drivers: [file, qcow2], references: 'allow' })
    const { mkdirSync } = await import('node:fs')
    for (const name of ['low', 'high', 'high/top']) mkdirSync(folder.file(name))
    const make = (name: string, backing?: string): Promise<void> =>
      graph.createUnchecked({
        driver: 'qcow2',
        size,
        file: { driver: 'file', filename: folder.file(name) },
        ...(backing === undefined ? {} : { backingFile: backing, backingFmt: 'qcow2' }),
      })
    await make('low/base')
    await make('high/mid', '../low/base')
    await make('high/top/top', '../mid')
    const disk = await graph.open(folder.file('high/top/top'))
    return { graph, jobs: new JobTable(graph), disk }
  }
  const depth = (node: Node): number => 1 + (node.backing === undefined ? 0 : depth(node.backing.node))

  it('that are relative to the image above, for a commit', async () => {
    await using folder = await TempFolder.make()
    const { graph, jobs, disk } = await images(folder)
    await using _ = graph
    const device = disk.node
    await expect(startCommit(jobs, { device, top: '../mid', base: '../mid' })).rejects.toThrow(
      "Can't find '../mid' in the backing chain",
    )
    await expect(startCommit(jobs, { device, top: '../low/base', base: '../mid' })).rejects.toThrow(
      "Can't find '../mid' in the backing chain",
    )
    await (await startCommit(jobs, { device, top: '../mid', base: '../low/base' })).finished
    expect(depth(disk.node)).toBe(2)
  })

  it('that are relative to the image above, for a stream', async () => {
    await using folder = await TempFolder.make()
    const { graph, jobs, disk } = await images(folder)
    await using _ = graph
    await (await startStream(jobs, { device: disk.node, base: '../low/base' })).finished
    expect(depth(disk.node)).toBe(2)
  })
})
