/** The file grows to its clusters with a flush, while others write. */
import { Graph } from '@diskgraph/core'
import { type DriverDescriptor, Passthrough, type TruncateOptions } from '@diskgraph/core/driver'
import { type MemoryStorage, memoryDriver } from '@diskgraph/driver-memory'
import { vdi } from '@diskgraph/driver-vdi'
import { expect, it } from 'vitest'

/** Storage that changes its length when the test lets it. */
class Gate extends Passthrough {
  static opened: Promise<void> = Promise.resolve()
  static reached: () => void = () => undefined

  override async truncate(size: number, options: TruncateOptions, signal?: AbortSignal): Promise<void> {
    Gate.reached()
    await Gate.opened
    return super.truncate(size, options, signal)
  }
}

const gate: DriverDescriptor = {
  name: 'gate',
  kind: 'filter',
  description: 'holds changes of length',
  options: { file: { type: 'child', role: 'filtered', required: true, description: 'the storage' } },
  open: async ({ children }) => new Gate(children.require('file')),
}

it('keeps what is written behind the end while a flush makes the file longer', async () => {
  await using graph = new Graph({ drivers: [memoryDriver(new Map<string, MemoryStorage>()), vdi, gate] })
  const file = { driver: 'memory', name: 'image' } as const
  await graph.create({ driver: 'vdi', size: 2 ** 23, file })
  const disk = await graph.addUnchecked({ driver: 'vdi', file: { driver: 'gate', file } })
  let open: () => void = () => undefined
  const reached = new Promise<void>((resolve) => {
    Gate.reached = resolve
  })
  Gate.opened = new Promise((resolve) => {
    open = resolve
  })
  await disk.write(100, new Uint8Array(10).fill(1))
  const flush = disk.flush()
  await reached
  const write = disk.write(2 ** 20 + 100, new Uint8Array(10).fill(2))
  // As long as it may take, where nothing holds it.
  for (let i = 0; i < 20; i++) await graph.clock.turn()
  open()
  await Promise.all([flush, write])
  const buf = new Uint8Array(10)
  await disk.read(2 ** 20 + 100, buf)
  expect([...buf]).toEqual(Array(10).fill(2))
})
