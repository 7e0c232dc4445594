import { Graph } from '@diskgraph/core'
import { blob } from '@diskgraph/driver-blob'
import { memory } from '@diskgraph/driver-memory'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { compare, copy, copyStream } from '@diskgraph/jobs'
import { expect, it } from 'vitest'
import { patternOf } from './disks.ts'

it('a file that is uploaded becomes an image, and a copy of it is the same', async () => {
  await using graph = new Graph({ drivers: [blob, memory, qcow2] })
  const file = new File([patternOf(5_000_000), new Uint8Array(2 ** 22), patternOf(512 * 100)], 'disk.img')
  const create = (name: string, size: number) =>
    graph.create({ driver: 'qcow2', size, file: { driver: 'memory', name } })
  const open = (name: string) => graph.add({ driver: 'qcow2', file: { driver: 'memory', name } })
  await create('image', 0)
  const image = await open('image')
  await copyStream(chunksOf(file.stream().getReader()), image)
  expect(await compare(image, await graph.add({ driver: 'blob', blob: file }))).toBe(undefined)
  await create('copy', image.size)
  const target = await open('copy')
  await copy(image, target, { compressed: true })
  expect(await compare(image, target)).toBe(undefined)
  await target.write(3_000_000, new Uint8Array([1, 2, 3]))
  expect(await compare(image, target)).toEqual({ kind: 'content', offset: 2_999_808 })
})

/** Not every browser iterates over streams. */
async function* chunksOf(reader: ReadableStreamDefaultReader<Uint8Array>): AsyncGenerator<Uint8Array> {
  for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value
}
