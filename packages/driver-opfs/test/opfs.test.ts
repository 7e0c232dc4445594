/** Runs in the page of packages/browser-suite, too. */
import { Graph } from '@diskgraph/core'
import { opfs } from '@diskgraph/driver-opfs'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { expect, it } from 'vitest'

const isThere = (globalThis.navigator?.storage as StorageManager | undefined)?.getDirectory !== undefined

it('does what the README shows; where there are no private files, says so', async () => {
  mustShowExample(import.meta.url)
  if (isThere) return example()
  await expect(example()).rejects.toMatchObject({
    code: 'ENOTSUP',
    message: expect.stringContaining('there is no origin private file system here'),
  })
})

async function example(): Promise<void> {
  await using graph = new Graph({ drivers: [opfs, qcow2] })
  const file = { driver: 'opfs', path: 'disks/notes.qcow2' } as const
  await graph.create({ driver: 'qcow2', size: 2 ** 30, file })
  const disk = await graph.add({ driver: 'qcow2', file })
  await disk.write(0, new Uint8Array(512).fill(7))
  await disk.flush()
}
