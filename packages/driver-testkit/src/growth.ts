/** A file that grows to its clusters with a flush, while others write. */
import { Graph } from '@diskgraph/core'
import { type DriverDescriptor, Passthrough, type TruncateOptions } from '@diskgraph/core/driver'
import { mustBeAll } from './assertions.ts'
import { MemoryFiles } from './memory-files.ts'

/** What {@link growthTest} is told. */
export interface GrowthTestSettings {
  /** A format whose flush makes the file as long as its clusters. */
  readonly driver: DriverDescriptor
  readonly createOptions?: Readonly<Record<string, unknown>>
  readonly cluster: number
}

/** Throws when what is written behind the end of the file, while a flush makes the file longer, is lost. */
export async function growthTest({ driver, createOptions, cluster }: GrowthTestSettings): Promise<void> {
  let reach: () => void = () => undefined
  let open: () => void = () => undefined
  const reached = new Promise<void>((resolve) => {
    reach = resolve
  })
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  const files = new MemoryFiles()
  files.put('image')
  await using graph = new Graph({ drivers: [driver, files.driver, gate(reach, opened)] })
  const file = { driver: 'testkit-file', name: 'image' }
  await graph.createUnchecked({ driver: driver.name, size: 8 * cluster, ...createOptions, file })
  const disk = await graph.addUnchecked({ driver: driver.name, file: { driver: 'gate', file } })
  await disk.write(100, new Uint8Array(10).fill(1))
  const flush = disk.flush()
  await reached
  const write = disk.write(cluster + 100, new Uint8Array(10).fill(2))
  // As long as it may take, where nothing holds it.
  for (let i = 0; i < 20; i++) await graph.clock.turn()
  open()
  await Promise.all([flush, write])
  const buf = new Uint8Array(10)
  await disk.read(cluster + 100, buf)
  mustBeAll(buf, 2, 'what was written while the file became longer')
}

/** A filter over storage that calls `reach` before a change of length, and makes it when `opened` resolves. */
function gate(reach: () => void, opened: Promise<void>): DriverDescriptor {
  class Gate extends Passthrough {
    override async truncate(size: number, options: TruncateOptions, signal?: AbortSignal): Promise<void> {
      reach()
      await opened
      return super.truncate(size, options, signal)
    }
  }
  return {
    name: 'gate',
    kind: 'filter',
    description: 'holds changes of length',
    options: { file: { type: 'child', role: 'filtered', required: true, description: 'the storage' } },
    open: async ({ children }) => new Gate(children.require('file')),
  }
}
