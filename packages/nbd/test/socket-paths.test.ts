import { existsSync, readdirSync } from 'node:fs'
import { Graph } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import { TempFolder } from '@diskgraph/driver-testkit'
import { listen, NbdServer } from '@diskgraph/nbd'
import { expect, it } from 'vitest'

it('a path of a unix socket that the system would cut is refused', async () => {
  await using folder = await TempFolder.make()
  await using graph = new Graph({ drivers: [memory] })
  await using server = new NbdServer(graph)
  const longest = folder.file('x'.repeat(107 - folder.path.length - 1))
  await expect(listen(server, { path: `${longest}x` })).rejects.toThrow('is too long')
  expect(readdirSync(folder.path)).toEqual([])
  await listen(server, { path: longest })
  expect(existsSync(longest)).toBe(true)
})
