/** What an image forgets its backing file for is on disk before it does. */
import { Graph } from '@diskgraph/core'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { qed } from '@diskgraph/driver-qed'
import { raw } from '@diskgraph/driver-raw'
import { MemoryFiles } from '@diskgraph/driver-testkit'
import { expect, it } from 'vitest'

it.each([
  ['qcow2', qcow2],
  ['qed', qed],
] as const)('%s: a crash after the backing file went shows what was written before', async (name, driver) => {
  const files = new MemoryFiles()
  files.put('base')
  files.put('overlay')
  const drivers = [driver, raw, files.driver]
  const graph = new Graph({ drivers, onWarning: () => undefined })
  const file = { driver: 'testkit-file', name: 'overlay' }
  await graph.createUnchecked({ driver: name, size: 2 ** 20, file })
  const disk = await graph.addUnchecked({ driver: name, file })
  await disk.write(65536, new Uint8Array(4096).fill(7))
  await disk.node.image.changeBacking?.(undefined, undefined)
  // The process is gone: only what has reached the file is there.
  const left = new MemoryFiles()
  left.put('overlay')
  left.file('overlay').write(0, files.file('overlay').bytes())
  await using after = new Graph({ drivers: [driver, raw, left.driver] })
  const seen = await after.addUnchecked({ driver: name, file })
  const buf = new Uint8Array(4096)
  await seen.read(65536, buf)
  expect(buf.every((byte) => byte === 7)).toBe(true)
  await graph.close()
})
