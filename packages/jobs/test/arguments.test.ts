/** What a program without types may hand over. */
import { BlockError } from '@diskgraph/core'
import { commit, compare, copy, copyStream, rebase } from '@diskgraph/jobs'
import { describe, expect, it } from 'vitest'
import { setReadOnly } from '../src/disk/chain.ts'
import { contentOf, type Stack, stack } from './stack.ts'

const size = 2 ** 20
type Call = (...args: unknown[]) => Promise<unknown>

async function chain(make: Stack) {
  await (await make.qcow2('base', { size })).close()
  return make.qcow2('overlay', { size, backing: 'base', faulty: true })
}

describe('a call with an option that is none', () => {
  it.each([
    ['length', -5],
    ['skip', -1],
    ['skip', 0.5],
    ['sync', 'tip'],
    ['parallel', 1.5],
    ['parallel', 0],
    ['compressed', 1],
    ['onProgress', 5],
    ['signal', {}],
    ['speed', 0],
    ['lenght', 5],
  ])('names the option: %s of %s', async (name, value) => {
    const make = stack()
    await using _ = make.graph
    const [source, target] = [await make.plain('a', size), await make.plain('b', size)]
    const copying = (copy as Call)(source, target, { [name]: value })
    await expect(copying).rejects.toMatchObject({ code: 'EINVAL', message: expect.stringContaining(`'${name}'`) })
  })

  it('is an error of every call', async () => {
    const make = stack()
    await using _ = make.graph
    const [one, other] = [await make.plain('a', size), await make.plain('b', size)]
    const reference = { filename: undefined, format: undefined }
    for (const call of [
      (copy as Call)(one, other, null),
      (compare as Call)(one, other, { strickt: true }),
      (commit as Call)(one, { base: 'base' }),
      (rebase as Call)(one, undefined, reference, { parallel: 2 }),
      (copyStream as Call)([], other, { onProgress: () => undefined }),
    ]) {
      await expect(call).rejects.toMatchObject({ code: 'EINVAL' })
    }
  })
})

it('a call without its disks says what is due', async () => {
  const make = stack()
  await using _ = make.graph
  const disk = await make.plain('a', size)
  const calls: readonly [() => Promise<unknown>, string][] = [
    [() => (copy as Call)(), 'the source of copy is an open disk'],
    [() => (copy as Call)(disk), 'the target of copy has write()'],
    [() => (copy as Call)([], disk), 'there is no source to copy'],
    [() => (commit as Call)(), 'the overlay of commit is an open disk'],
    [() => (compare as Call)(disk), 'what compare compares is an open disk'],
    [() => (rebase as Call)(disk, undefined, undefined), 'the reference of rebase takes an object'],
    [() => (copyStream as Call)(undefined, disk), 'the stream of copyStream is an AsyncIterable'],
    [() => (copyStream as Call)(texts(), disk), 'a stream of bytes yields Uint8Array, not a value of type string'],
  ]
  for (const [call, message] of calls) {
    const error = await call().then(
      () => undefined,
      (failure) => failure,
    )
    expect(error).toBeInstanceOf(BlockError)
    expect((error as BlockError).message).toContain(message)
  }
})

async function* texts(): AsyncGenerator<string> {
  yield 'text'
}

it('a closed disk is named as such', async () => {
  const make = stack()
  await using _ = make.graph
  const overlay = await chain(make)
  await overlay.close()
  await expect(commit(overlay)).rejects.toMatchObject({ code: 'ENOMEDIUM', message: expect.stringContaining('closed') })
})

it('a stream that never yields is left when the signal is aborted', async () => {
  const make = stack()
  await using _ = make.graph
  const target = await make.qcow2('target', { size: 0 })
  const controller = new AbortController()
  let left = 0
  const silent: AsyncIterable<Uint8Array> = {
    [Symbol.asyncIterator]: () => ({
      next: () => new Promise(() => setTimeout(() => controller.abort(), 1)),
      return: async () => ({ done: true, value: ++left }),
    }),
  }
  await expect(copyStream(silent, target, { signal: controller.signal })).rejects.toMatchObject({ code: 'ECANCELED' })
  expect(left).toBe(1)
})

describe('a commit', () => {
  it('of a read-only overlay is refused before the base is written, unless the overlay keeps what it holds', async () => {
    const make = stack()
    await using _ = make.graph
    const overlay = await chain(make)
    await overlay.write(0, new Uint8Array(512).fill(7))
    await overlay.close()
    const again = await make.graph.open('memory:overlay', { format: 'qcow2', readOnly: true })
    const before = Uint8Array.from(await contentOf(await make.plain('base')))
    await expect(commit(again)).rejects.toMatchObject({ code: 'EPERM' })
    expect(await contentOf(await make.plain('base'))).toEqual(before)
    await commit(again, { keep: true })
    const base = await make.graph.open('memory:base', { format: 'qcow2', readOnly: true })
    expect((await contentOf(base, 512))[0]).toBe(7)
  })

  it('leaves the base read-only although its last flush fails, and reports that', async () => {
    const make = stack()
    await using _ = make.graph
    const overlay = await chain(make)
    await overlay.write(0, new Uint8Array(512).fill(7))
    const base = overlay.node.backing!.node
    make.faults.arm()
    await commit(overlay, { keep: true })
    const flushes = make.faults.calls
    expect(flushes).toBeGreaterThan(0)
    let failed = 0
    for (let nth = 1; nth <= 12; nth++) {
      make.faults.arm({ nth, code: 'EIO', kinds: ['flush'] })
      await overlay.write(0, new Uint8Array(512).fill(nth))
      await commit(overlay, { keep: true }).catch(() => failed++)
      expect(base.readOnly, `flush ${nth}`).toBe(true)
    }
    make.faults.disarm()
    expect(failed).toBeGreaterThan(0)
    await setReadOnly(make.graph, base, true)
  })
})
