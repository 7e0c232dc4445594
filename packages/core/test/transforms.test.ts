import { describe, expect, it } from 'vitest'
import { delay, Passthrough, RangeLock, Transform } from '../src/driver.ts'
import { type DriverDescriptor, Flag, systemClock } from '../src/index.ts'
import { FakeDrivers, isPending } from './fake-drivers.ts'

/** Shows every byte inverted. */
class Inverted extends Transform {
  protected decode(_offset: number, buf: Uint8Array): void {
    for (const [i, byte] of buf.entries()) buf[i] = byte ^ 0xff
  }

  protected encode(offset: number, buf: Uint8Array): void {
    this.decode(offset, buf)
  }
}

async function setUp(size = 1000, unit?: number) {
  const fakes = new FakeDrivers()
  const inverted: DriverDescriptor = {
    ...fakes.filter,
    name: 'inverted',
    kind: 'format',
    options: { file: { type: 'child', role: 'storage', required: true, description: 'storage' } },
    open: async ({ children }) => new Inverted(children.require('file'), unit),
  }
  fakes.content.set('a', new Uint8Array(size).fill(0xff))
  const graph = fakes.graph([inverted])
  const disk = await graph.addUnchecked({
    driver: 'inverted',
    nodeName: 'n',
    file: { driver: 'disk', nodeName: 'a', size },
  })
  return { fakes, graph, disk, image: disk.node.image as Inverted }
}

describe('a transform', () => {
  it('shows decoded bytes and stores encoded ones, and leaves the buffer of a writer as it is', async () => {
    const { fakes, graph, disk } = await setUp()
    const buf = new Uint8Array(3).fill(9)
    await disk.read(5, buf)
    expect([...buf]).toEqual([0, 0, 0])
    const mine = new Uint8Array([1, 2])
    await disk.write(5, mine)
    expect([[...mine], [...fakes.bytes('a').subarray(4, 8)]]).toEqual([
      [1, 2],
      [0xff, 0xfe, 0xfd, 0xff],
    ])
    await disk.writeZeroes(5, 2)
    expect([...fakes.bytes('a').subarray(5, 7)]).toEqual([0xff, 0xff])
    await graph.close()
  })

  it('takes whole units, ends with one, and knows nothing of zeroes', async () => {
    const { graph, disk, image } = await setUp(1000, 512)
    expect([disk.size, image.limits.alignment, image.zeroInit, image.writeFlags]).toEqual([512, 512, false, Flag.Fua])
    expect(await image.blockStatus(0, 7)).toEqual({ length: 7, data: true, zero: false, allocated: true })
    expect(await image.info()).toEqual({})
    await graph.close()
  })

  it('fills what is new with encoded zeroes, or has the old size when that fails', async () => {
    const { fakes, graph, disk } = await setUp()
    await disk.truncate(1000 + 2 ** 20 + 5)
    const bytes = fakes.bytes('a')
    expect([bytes.length, bytes.every((byte) => byte === 0xff)]).toEqual([1000 + 2 ** 20 + 5, true])
    await disk.truncate(1000)
    fakes.fail('a.write', new Error('full'), 1)
    await expect(disk.truncate(1000 + 2 ** 20 + 5)).rejects.toThrow('full')
    expect([disk.size, fakes.bytes('a').length]).toEqual([1000, 1000])
    await graph.close()
  })

  it('passes on FUA and no other flag, and what its storage takes', async () => {
    const { fakes, graph, disk, image } = await setUp()
    const flags: number[] = []
    const { node } = image.file as unknown as { node: { image: { write?: unknown } } }
    node.image.write = async (_offset: number, _buf: Uint8Array, given: number) => void flags.push(given)
    await image.write(0, new Uint8Array(1), Flag.Fua | Flag.MayUnmap)
    await image.write(0, new Uint8Array(1), Flag.MayUnmap)
    expect(flags).toEqual([Flag.Fua, 0])
    expect(image.limits.maxTransfer).toBe(disk.node.limits.maxTransfer)
    expect(fakes.warnings).toEqual([])
    await graph.close()
  })
})

describe('a filter that changes nothing', () => {
  it('hands on every request as it is, and shows its child', async () => {
    const calls: unknown[][] = []
    const answers: Record<string, unknown> = { size: 7, limits: { alignment: 512 }, zeroInit: false, writeFlags: 8 }
    const file = new Proxy({} as never, {
      get: (_, name: string) => answers[name] ?? ((...given: unknown[]) => calls.push([name, ...given])),
    })
    const image = new Passthrough(file)
    const { signal } = new AbortController()
    const buf = new Uint8Array(1)
    image.read(1, buf, 2, signal)
    image.write(3, buf, 4, signal)
    image.writeZeroes(5, 6, 7, signal)
    image.discard(8, 9, signal)
    image.truncate(10, { preallocation: 'off' } as never, signal)
    image.info()
    expect(calls).toEqual([
      ['read', 1, buf, 2, signal],
      ['write', 3, buf, 4, signal],
      ['writeZeroes', 5, 6, 7, signal],
      ['discard', 8, 9, signal],
      ['truncate', 10, { preallocation: 'off' }, signal],
      ['info'],
    ])
    expect([image.size, image.limits, image.zeroInit]).toEqual([7, { alignment: 512 }, false])
    const { file: shown, ...status } = await image.blockStatus(3, 4)
    expect(shown === file).toBe(true)
    expect(status).toEqual({ length: 4, data: true, zero: false, allocated: true, offset: 3, recurse: 'all' })
    const { Fua, Unchanged, Compressed, MayUnmap, NoFallback } = Flag
    expect(image.writeFlags).toBe(Fua | Unchanged | Compressed)
    answers.writeFlags = 0
    expect(image.writeFlags).toBe(Fua | Unchanged)
    expect(image.zeroFlags).toBe(Fua | MayUnmap | NoFallback | Unchanged)
  })
})

describe('a range lock', () => {
  it('keeps back only those who overlap somebody who excludes them, held or waiting', async () => {
    const lock = new RangeLock()
    const first = lock.acquire(10, 10, true)
    const besides = [lock.acquire(0, 10, true), lock.acquire(20, 5, false)]
    for (const hold of [first, ...besides]) expect(hold).not.toBeInstanceOf(Promise)
    const over = lock.acquire(19, 1, false) as Promise<never>
    const behind = lock.acquire(15, 2, true) as Promise<never>
    const third = lock.acquire(16, 1, false) as Promise<never>
    for (const wait of [over, behind, third]) expect(await isPending(wait)).toBe(true)
    lock.release(first as never)
    await Promise.all([over, behind])
    expect(await isPending(third)).toBe(true)
    lock.release(await behind)
    lock.release(await third)
    lock.release(await over)
    for (const hold of besides) lock.release(hold as never)
    expect(lock.acquire(0, 100, true)).not.toBeInstanceOf(Promise)
  })
})

describe('a delay', () => {
  function clock() {
    const wakes: [number, () => void][] = []
    let cancelled = 0
    const timeout = (ms: number, wake: () => void) => {
      wakes.push([ms, wake])
      return () => void cancelled++
    }
    return { clock: { ...systemClock, timeout }, wakes, cancelled: () => cancelled }
  }

  it('ends when its time is over, and listens to its signal no longer', async () => {
    const { clock: own, wakes, cancelled } = clock()
    const abort = new AbortController()
    const waits = [delay(own, 7), delay(own, 8, abort.signal)]
    for (const wait of waits) expect(await isPending(wait)).toBe(true)
    expect(wakes.map(([ms]) => ms)).toEqual([7, 8])
    for (const [, wake] of wakes) wake()
    await Promise.all(waits)
    abort.abort()
    expect(cancelled()).toBe(0)
  })

  it('is cut short by its signal, before it begins, too', async () => {
    const { clock: own, cancelled } = clock()
    const abort = new AbortController()
    const reason = new Error('enough')
    const wait = delay(own, 7, abort.signal)
    abort.abort(reason)
    await expect(wait).rejects.toBe(reason)
    await expect(delay(own, 7, abort.signal)).rejects.toBe(reason)
    expect(cancelled()).toBe(2)
  })
})
