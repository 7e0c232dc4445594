import { CrashWalk, PagedFile, Random, type RecordedCall } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'

let clock = 0
const call = (
  kind: RecordedCall['kind'],
  offset: number,
  bytes: number[] = [],
  change: Partial<RecordedCall> = {},
) => ({
  kind,
  file: 'f',
  offset,
  length: bytes.length,
  ...(kind === 'write' ? { data: new Uint8Array(bytes) } : {}),
  fua: false,
  start: ++clock,
  end: ++clock,
  failed: false,
  ...change,
})

const sector = (value: number): number[] => new Array(512).fill(value)

/** All contents, as the first bytes of the sectors, that many states show at `time`. */
function contents(calls: readonly RecordedCall[], time: number, base = new PagedFile(1024)): Set<string> {
  const found = new Set<string>()
  for (let seed = 0; seed < 300; seed++) {
    const walk = new CrashWalk(new Map([['f', base]]), calls)
    walk.advance(time)
    const file = walk.state(time, new Random(seed)).files.get('f') as PagedFile
    const bytes = file.bytes()
    found.add(Array.from({ length: Math.ceil(bytes.length / 512) }, (_, i) => bytes[i * 512]).join(' '))
  }
  return found
}

describe('crash states', () => {
  it('have or lack a write that was not flushed, and tear it at sectors', () => {
    const calls = [call('write', 0, [...sector(1), ...sector(2)])]
    expect(contents(calls, clock)).toEqual(new Set(['0 0', '1 0', '0 2', '1 2']))
  })

  it('have what a flush covers that started after it and ended', () => {
    const calls = [call('write', 0, sector(1)), call('flush', 0), call('write', 512, sector(2))]
    expect(contents(calls, clock)).toEqual(new Set(['1 0', '1 2']))
  })

  it('may lack a write that had not ended when the flush started', () => {
    const write = call('write', 0, sector(1))
    const flush = call('flush', 0)
    const late = { ...write, end: flush.start + 0.5 }
    expect(contents([late, flush], clock)).toEqual(new Set(['0 0', '1 0']))
  })

  it('may lack everything before the flush has ended', () => {
    const calls = [call('write', 0, sector(1)), call('flush', 0)]
    expect(contents(calls, clock - 1)).toEqual(new Set(['0 0', '1 0']))
  })

  it('have a write with FUA once it has ended', () => {
    const calls = [call('write', 0, sector(1), { fua: true })]
    expect(contents(calls, clock)).toEqual(new Set(['1 0']))
  })

  it('keep the order of two writes of one sector', () => {
    const calls = [
      call('write', 0, sector(1)),
      call('flush', 0),
      call('write', 0, sector(2)),
      call('write', 0, sector(3)),
    ]
    expect(contents(calls, clock)).toEqual(new Set(['1 0', '2 0', '3 0']))
  })

  it('have or lack a truncation, and what was written after it', () => {
    const calls = [call('truncate', 512)]
    const base = PagedFile.from(new Uint8Array([...sector(7), ...sector(8)]))
    expect(contents(calls, clock, base)).toEqual(new Set(['7', '7 8']))
  })

  it('may have grown without the data that made them grow', () => {
    const calls = [call('write', 1024, sector(1))]
    expect(contents(calls, clock)).toEqual(new Set(['0 0', '0 0 0', '0 0 1']))
  })

  it('number two to the power of the open changes, when they are counted out', () => {
    const calls = [call('write', 0, sector(1)), call('write', 512, sector(2))]
    const walk = new CrashWalk(new Map([['f', new PagedFile(1024)]]), calls)
    walk.advance(clock)
    expect([...walk.subsets(clock, new Random(1))]).toHaveLength(4)
  })
})
