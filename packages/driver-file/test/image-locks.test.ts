/** The branches of the locks of one file, over a system that says what it is asked and answers as it is told. */
import { Permission } from '@diskgraph/core'
import type { Posix } from '@diskgraph/posix'
import { beforeEach, describe, expect, it } from 'vitest'
import { ImageLocks, knowsLocks } from '../src/locks.ts'

const { All, ConsistentRead, Resize, Write, WriteUnchanged } = Permission

/** Bytes of other users, by what stands on them, and what is held by descriptor. */
class LockTable {
  readonly held = new Map<number, Set<number>>()
  readonly foreign = new Set<number>()
  /** Bytes that cannot be locked, and bytes whose call fails. */
  readonly refused = new Set<number>()
  readonly broken = new Set<number>()
  readonly calls: string[] = []

  of(fd: number): number[] {
    return [...(this.held.get(fd) ?? [])].sort((a, b) => a - b)
  }

  readonly posix = {
    lockRange: (fd: number, offset: number, length: number, kind: string): boolean => {
      this.calls.push(`lock ${fd} ${offset} ${length} ${kind}`)
      if (this.broken.has(offset)) throw Object.assign(new Error('ENOLCK'), { code: 'ENOLCK' })
      if (this.refused.has(offset)) return false
      const set = this.held.get(fd) ?? new Set()
      this.held.set(fd, set.add(offset))
      return true
    },
    unlockRange: (fd: number, offset: number, length: number): void => {
      this.calls.push(`unlock ${fd} ${offset} ${length}`)
      this.held.get(fd)?.delete(offset)
    },
    canLockRange: (fd: number, offset: number, length: number, kind: string): boolean => {
      this.calls.push(`test ${fd} ${offset} ${length} ${kind}`)
      if (this.broken.has(offset)) throw Object.assign(new Error('EINVAL'), { code: 'EINVAL' })
      return !this.foreign.has(offset)
    },
  } as unknown as Posix
}

let table: LockTable
let locks: ImageLocks
beforeEach(() => {
  table = new LockTable()
  locks = new ImageLocks(table.posix, 7, 'x')
})

const names: readonly (readonly [bit: number, index: number, name: string])[] = [
  [ConsistentRead, 0, 'consistent read'],
  [Write, 1, 'write'],
  [WriteUnchanged, 2, 'write unchanged'],
  [Resize, 3, 'resize'],
]

describe('locks of a file', () => {
  it.each(names)('take one shared byte for using permission %i and one for not sharing it', (bit, index) => {
    const change = locks.prepare(bit, All & ~bit)
    expect(table.of(7)).toEqual([100 + index, 200 + index])
    expect(table.calls).toContain(`lock 7 ${100 + index} 1 shared`)
    change.commit()
    expect(table.of(7)).toEqual([100 + index, 200 + index])
  })

  it.each(names)('take all bytes before they ask about any: permission %i', (bit) => {
    locks.prepare(bit, All & ~bit)
    expect(table.calls.map((call) => call.split(' ')[0])).toEqual(['lock', 'lock', 'test', 'test'])
    expect(table.calls.slice(2).every((call) => call.endsWith(' 1 exclusive'))).toBe(true)
  })

  it.each(names)('conflict with a user who does not share permission %i', (bit, index, name) => {
    table.foreign.add(200 + index)
    expect(() => locks.prepare(bit, All)).toThrow(`Failed to get "${name}" lock`)
    expect(table.of(7)).toEqual([])
  })

  it.each(names)('conflict with a user who uses permission %i, which we do not share', (bit, index, name) => {
    table.foreign.add(100 + index)
    expect(() => locks.prepare(0, All & ~bit)).toThrow(`Failed to get shared "${name}" lock`)
    expect(table.of(7)).toEqual([])
  })

  it.each(names)('do not ask about what is neither used nor kept from others: permission %i', (bit, index) => {
    table.foreign.add(100 + index).add(200 + index)
    const change = locks.prepare(All & ~bit, All)
    expect(table.of(7)).not.toContain(100 + index)
    change.abort()
    locks.prepare(0, bit)
    expect(table.of(7)).not.toContain(200 + index)
  })

  it('of a conflict name the file and are EAGAIN', () => {
    table.foreign.add(201)
    expect(() => locks.prepare(Write, All)).toThrow(
      expect.objectContaining({ code: 'EAGAIN', hint: 'Is another process using the image [x]?' }),
    )
  })

  it('that the system refuses or fails at are told with the byte, and nothing stays locked', () => {
    table.refused.add(203)
    expect(() => locks.prepare(Write, All & ~Resize)).toThrow(
      expect.objectContaining({
        code: 'EAGAIN',
        message: 'Failed to lock byte 203',
        hint: 'Is another process using the image [x]?',
      }),
    )
    expect(table.of(7)).toEqual([])
    table.broken.add(101)
    expect(() => locks.prepare(Write, All)).toThrow('Failed to lock byte 101: No locks available')
    expect(table.of(7)).toEqual([])
  })

  it('of a change are added at first, and the old ones go when it is committed', () => {
    locks.prepare(ConsistentRead | Write, All & ~Resize).commit()
    table.calls.length = 0
    const change = locks.prepare(ConsistentRead, All & ~Write)
    expect(table.of(7)).toEqual([100, 101, 201, 203])
    expect(table.calls.filter((call) => call.startsWith('lock'))).toEqual(['lock 7 201 1 shared'])
    change.commit()
    expect(table.of(7)).toEqual([100, 201])
  })

  it('of a change that is called off or refused leave those of before', () => {
    locks.prepare(ConsistentRead, All & ~Write).commit()
    locks.prepare(ConsistentRead | Resize, All & ~Write & ~Resize).abort()
    expect(table.of(7)).toEqual([100, 201])
    table.foreign.add(203)
    expect(() => locks.prepare(ConsistentRead | Resize, All)).toThrow('"resize"')
    expect(table.of(7)).toEqual([100, 201])
    // Of a change that was called off nothing comes back with the next one.
    locks.prepare(ConsistentRead | Write, All & ~Write).abort()
    locks.prepare(ConsistentRead, All & ~Write).abort()
    expect(table.of(7)).toEqual([100, 201])
    locks.prepare(Write, All).abort()
    expect(table.of(7)).toEqual([100, 201])
  })

  it('move to another descriptor with all that is locked, and stay changeable there', () => {
    locks.prepare(ConsistentRead | Write, All & ~Write & ~Resize).commit()
    locks.moveTo(8)
    expect(table.of(8)).toEqual([100, 101, 201, 203])
    expect(table.of(7)).toEqual([])
    const takenLast = table.calls.findLastIndex((call) => call.startsWith('lock 8'))
    expect(table.calls.findIndex((call) => call.startsWith('unlock 7'))).toBeGreaterThan(takenLast)
    locks.prepare(ConsistentRead, All).commit()
    expect(table.of(8)).toEqual([100])
  })

  it('of a prepared change move, too, and end with an abort', () => {
    locks.prepare(ConsistentRead, All).commit()
    const change = locks.prepare(ConsistentRead | Write, All)
    locks.moveTo(8)
    expect(table.of(8)).toEqual([100, 101])
    change.abort()
    expect(table.of(8)).toEqual([100])
  })

  it('are known where a byte can be asked about, whether or not it is free', () => {
    expect(knowsLocks(table.posix, 7)).toBe(true)
    table.foreign.add(100)
    expect(knowsLocks(table.posix, 7)).toBe(true)
    table.broken.add(100)
    expect(knowsLocks(table.posix, 7)).toBe(false)
  })
})
