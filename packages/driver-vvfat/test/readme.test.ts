import { join } from 'node:path'
import { Graph } from '@diskgraph/core'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { vvfat } from '@diskgraph/driver-vvfat'
import { expect, it } from 'vitest'
import { fill, temporaryFolder } from './support.ts'

const dir = fill(join(temporaryFolder(), 'dir'), { 'a.txt': 'a' })

it('does what the README shows', async () => {
  mustShowExample(import.meta.url)
  await using graph = new Graph({ drivers: [vvfat] })
  const disk = await graph.add({ driver: 'vvfat', dir, floppy: true, label: 'FILES', readOnly: true })
  const boot = new Uint8Array(512)
  await disk.read(0, boot)
  const size = disk.size // 2949120
  expect(size).toBe(2_949_120)
  expect(Buffer.from(boot).toString('latin1', 43, 54)).toBe('FILES      ')
})
