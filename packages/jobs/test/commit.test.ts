import type { Disk } from '@diskgraph/core'
import { Random, randomSeed } from '@diskgraph/driver-testkit'
import { commit } from '@diskgraph/jobs'
import { describe, expect, it } from 'vitest'
import { contentOf, type Stack, scribble, stack } from './stack.ts'

const size = 2 ** 21

/** A chain of overlays over `names[0]`, each with content of its own; the top one open. */
async function chain(
  make: Stack,
  random: Random,
  names: readonly string[],
  sizes: readonly number[] = [],
): Promise<Disk> {
  for (const [i, name] of names.entries()) {
    const backing = names[i - 1]
    const disk = await make.qcow2(name, { size: sizes[i] ?? size, ...(backing !== undefined && { backing }) })
    await scribble(disk, random)
    if (i === names.length - 1) return disk
    await disk.close()
  }
  throw new Error('a chain has a name')
}

/** The first disk of {@link chain}, opened anew. */
function reopened({ graph }: Stack, name: string): Promise<Disk> {
  return graph.open(`memory:${name}`, { format: 'qcow2', readOnly: true })
}

describe('a commit', () => {
  const seed = randomSeed()
  it.each([seed, seed + 1, seed + 2, seed + 3])(
    'puts all into the backing file and empties the overlay (seed %i)',
    async (own) => {
      const make = stack()
      await using _ = make.graph
      const overlay = await chain(make, new Random(own), ['base', 'overlay'])
      const before = await contentOf(overlay)
      await commit(overlay)
      expect(Buffer.compare(await contentOf(overlay), before)).toBe(0)
      for await (const { depth } of overlay.extents()) expect(depth).not.toBe(0)
      await overlay.close()
      expect(Buffer.compare(await contentOf(await reopened(make, 'base')), before)).toBe(0)
    },
  )

  it('into a deeper layer keeps the layers above', async () => {
    const make = stack()
    await using _ = make.graph
    const overlay = await chain(make, new Random(1), ['base', 'middle', 'overlay'])
    const before = await contentOf(overlay)
    const base = overlay.node.backing?.node.backing?.node
    await commit(overlay, { base })
    expect(Buffer.compare(await contentOf(overlay), before)).toBe(0)
    let own = 0
    for await (const { depth, length } of overlay.extents()) if (depth === 0) own += length
    expect(own).toBeGreaterThan(0)
    await overlay.close()
    expect(Buffer.compare(await contentOf(await reopened(make, 'base')), before)).toBe(0)
  })

  it('keeps the overlay when it is told to', async () => {
    const make = stack()
    await using _ = make.graph
    const overlay = await chain(make, new Random(1), ['base', 'overlay'])
    await commit(overlay, { keep: true })
    const depths = new Set<number>()
    for await (const { depth } of overlay.extents()) depths.add(depth)
    expect(depths).toContain(0)
  })

  it('lets the base grow, but not shrink', async () => {
    const make = stack()
    await using _ = make.graph
    const overlay = await chain(make, new Random(1), ['base', 'overlay'], [size / 2, size])
    const before = await contentOf(overlay)
    await commit(overlay)
    await overlay.close()
    expect(Buffer.compare(await contentOf(await reopened(make, 'base')), before)).toBe(0)

    const short = await chain(make, new Random(1), ['long', 'short'], [size, size / 2])
    const head = await contentOf(short)
    await commit(short)
    await short.close()
    const long = await reopened(make, 'long')
    expect(long.size).toBe(size)
    expect(Buffer.compare(await contentOf(long, size / 2), head)).toBe(0)
  })

  it('leaves the base read-only as it was, also when it fails', async () => {
    const make = stack()
    await using _ = make.graph
    const overlay = await chain(make, new Random(1), ['base', 'overlay'])
    const base = overlay.node.backing?.node
    await commit(overlay, { keep: true })
    expect(base?.readOnly).toBe(true)
    await expect(commit(overlay, { signal: AbortSignal.timeout(0), speed: 1 })).rejects.toMatchObject({
      code: 'ECANCELED',
    })
    expect(base?.readOnly).toBe(true)
  })

  it('is refused for a disk without a backing file', async () => {
    const make = stack()
    await using _ = make.graph
    const disk = await make.qcow2('disk', { size })
    await expect(commit(disk)).rejects.toMatchObject({
      code: 'EINVAL',
      message: 'Image does not have a backing file',
    })
  })
})
