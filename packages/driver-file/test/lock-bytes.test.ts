/** The steps of image locks over a table of locks in memory: what is locked, asked for and given up, and when. */
import { BlockError, isBlockError, Permission } from '@diskgraph/core'
import type { Posix } from '@diskgraph/posix'
import { describe, expect, it } from 'vitest'
import { ImageLocks, knowsLocks } from '../src/locks.ts'

const { ConsistentRead, Write, WriteUnchanged, Resize, All } = Permission

/** The locks of one file, by descriptor; descriptors of different numbers are different users. */
class LockTable {
  readonly held = new Map<number, Set<number>>()
  readonly log: string[] = []
  /** Answers a request for a lock before the table does. */
  answer: (offset: number) => boolean | undefined = () => undefined

  readonly posix = {
    lockRange: (fd: number, offset: number, length: number, kind: string): boolean => {
      this.log.push(`${kind} ${offset}+${length}`)
      const answer = this.answer(offset)
      if (answer !== undefined) return answer
      this.of(fd).add(offset)
      return true
    },
    canLockRange: (fd: number, offset: number, length: number, kind: string): boolean => {
      this.log.push(`${kind}? ${offset}+${length}`)
      return ![...this.held].some(([other, bytes]) => other !== fd && bytes.has(offset))
    },
    unlockRange: (fd: number, offset: number, length: number): void => {
      this.log.push(`unlock ${offset}+${length}`)
      this.of(fd).delete(offset)
    },
  } as unknown as Posix

  bytes(fd: number): number[] {
    return [...this.of(fd)].sort((a, b) => a - b)
  }

  take(): string[] {
    return this.log.splice(0)
  }

  private of(fd: number): Set<number> {
    const bytes = this.held.get(fd) ?? new Set()
    this.held.set(fd, bytes)
    return bytes
  }
}

function locksOf(table: LockTable, fd: number): ImageLocks {
  return new ImageLocks(table.posix, fd, 'disk.img')
}

/** The message of the conflict that a change meets. */
function refusal(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    if (!isBlockError(error)) throw error
    expect(error).toMatchObject({ code: 'EAGAIN', hint: 'Is another process using the image [disk.img]?' })
    return error.message
  }
  return 'ok'
}

const names: readonly (readonly [number, number, string])[] = [
  [ConsistentRead, 0, 'consistent read'],
  [Write, 1, 'write'],
  [WriteUnchanged, 2, 'write unchanged'],
  [Resize, 3, 'resize'],
]

describe.each(names)('permission %i', (bit, index, name) => {
  it('is a shared lock of one byte when it is used, and of another when it is not shared', () => {
    const table = new LockTable()
    const locks = locksOf(table, 3)
    locks.prepare(bit, All).commit()
    expect(table.bytes(3)).toEqual([100 + index])
    locks.prepare(0, All & ~bit).commit()
    expect(table.bytes(3)).toEqual([200 + index])
    locks.prepare(0, All).commit()
    expect(table.bytes(3)).toEqual([])
  })

  it('is refused by name to one who uses it beside one who does not share it, and the other way round', () => {
    const table = new LockTable()
    locksOf(table, 3)
      .prepare(0, All & ~bit)
      .commit()
    expect(refusal(() => locksOf(table, 4).prepare(bit, All))).toBe(`Failed to get "${name}" lock`)
    const other = new LockTable()
    locksOf(other, 3).prepare(bit, All).commit()
    expect(refusal(() => locksOf(other, 4).prepare(0, All & ~bit))).toBe(`Failed to get shared "${name}" lock`)
    expect([table.bytes(4), other.bytes(4)]).toEqual([[], []])
  })

  it('is open to many who use it, and to many who do not share it', () => {
    const table = new LockTable()
    locksOf(table, 3).prepare(bit, All).commit()
    locksOf(table, 4).prepare(bit, All).commit()
    const other = new LockTable()
    locksOf(other, 3)
      .prepare(0, All & ~bit)
      .commit()
    locksOf(other, 4)
      .prepare(0, All & ~bit)
      .commit()
    expect([table.bytes(4), other.bytes(4)]).toEqual([[100 + index], [200 + index]])
  })
})

describe('a change of locks', () => {
  it('locks first and asks afterwards, only about what it needs', () => {
    const table = new LockTable()
    locksOf(table, 3).prepare(Write, All & ~Resize)
    expect(table.take()).toEqual(['shared 101+1', 'shared 203+1', 'exclusive? 201+1', 'exclusive? 103+1'])
  })

  it('does not lock again what is locked, nor give up before the commit what is to go', () => {
    const table = new LockTable()
    const locks = locksOf(table, 3)
    locks.prepare(ConsistentRead | Write, All & ~(Write | Resize)).commit()
    table.take()
    const prepared = locks.prepare(Write | Resize, All & ~(Write | ConsistentRead))
    expect(table.take().filter((step) => step.startsWith('shared'))).toEqual(['shared 200+1', 'shared 103+1'])
    expect(table.bytes(3)).toEqual([100, 101, 103, 200, 201, 203])
    prepared.commit()
    expect(table.take()).toEqual(['unlock 100+1', 'unlock 203+1'])
    expect(table.bytes(3)).toEqual([101, 103, 200, 201])
  })

  it('that is called off leaves the locks as they were, and can be made afterwards', () => {
    const table = new LockTable()
    const locks = locksOf(table, 3)
    locks.prepare(ConsistentRead, All & ~Resize).commit()
    locks.prepare(Write | Resize, All & ~ConsistentRead).abort?.()
    expect(table.bytes(3)).toEqual([100, 203])
    table.take()
    locks.prepare(Write, All).commit()
    expect(table.bytes(3)).toEqual([101])
    locks.prepare(ConsistentRead, All & ~Resize).commit()
    expect(table.bytes(3)).toEqual([100, 203])
  })

  it('that is refused leaves the locks as they were, and can be made when the other has gone', () => {
    const table = new LockTable()
    const locks = locksOf(table, 3)
    const other = locksOf(table, 4)
    locks.prepare(ConsistentRead, All & ~Resize).commit()
    other.prepare(Write, All).commit()
    expect(refusal(() => locks.prepare(Write, ConsistentRead))).toBe('Failed to get shared "write" lock')
    expect(table.bytes(3)).toEqual([100, 203])
    other.prepare(0, All).commit()
    locks.prepare(Write, ConsistentRead).commit()
    expect(table.bytes(3)).toEqual([101, 201, 202, 203])
  })

  it('whose byte somebody has locked for writing is refused, and gives up what it has locked', () => {
    const table = new LockTable()
    table.answer = (offset) => (offset === 203 ? false : undefined)
    const locks = locksOf(table, 3)
    expect(refusal(() => locks.prepare(ConsistentRead | Write, All & ~Resize))).toBe('Failed to lock byte 203')
    expect(table.bytes(3)).toEqual([])
    table.answer = () => undefined
    locks.prepare(0, All & ~Resize).commit()
    expect(table.bytes(3)).toEqual([203])
  })

  it('that the file system fails says which byte, and gives up what it has locked', () => {
    const table = new LockTable()
    table.answer = (offset) => {
      if (offset === 101) throw Object.assign(new Error('ENOLCK'), { code: 'ENOLCK' })
      return undefined
    }
    expect(() => locksOf(table, 3).prepare(ConsistentRead | Write, All)).toThrow(/^Failed to lock byte 101/)
    expect(() => locksOf(table, 3).prepare(ConsistentRead | Write, All)).toThrow(BlockError)
    expect(table.bytes(3)).toEqual([])
  })
})

describe('locks that move to another descriptor', () => {
  it('are taken there before they are given up here', () => {
    const table = new LockTable()
    const locks = locksOf(table, 3)
    locks.prepare(ConsistentRead | Resize, All & ~(Write | WriteUnchanged)).commit()
    table.take()
    locks.moveTo(4)
    expect(table.take()).toEqual([
      ...['shared 100+1', 'shared 201+1', 'shared 202+1', 'shared 103+1'],
      ...['unlock 100+1', 'unlock 201+1', 'unlock 202+1', 'unlock 103+1'],
    ])
    expect([table.bytes(3), table.bytes(4)]).toEqual([[], [100, 103, 201, 202]])
  })

  it('go on there: later changes touch the new descriptor alone', () => {
    const table = new LockTable()
    const locks = locksOf(table, 3)
    locks.prepare(ConsistentRead, All & ~Write).commit()
    locks.moveTo(4)
    locks.prepare(Resize, All).commit()
    expect([table.bytes(3), table.bytes(4)]).toEqual([[], [103]])
  })

  it('take along those of a change that is under way', () => {
    const table = new LockTable()
    const locks = locksOf(table, 3)
    const prepared = locks.prepare(Write, All & ~Resize)
    locks.moveTo(4)
    expect(table.bytes(4)).toEqual([101, 203])
    prepared.abort?.()
    expect([table.bytes(3), table.bytes(4)]).toEqual([[], []])
  })
})

describe('a file system', () => {
  it('knows locks when it answers a question about the first byte', () => {
    const table = new LockTable()
    expect(knowsLocks(table.posix, 3)).toBe(true)
    expect(table.take()).toEqual(['exclusive? 100+1'])
    locksOf(table, 4).prepare(ConsistentRead, All).commit()
    expect(knowsLocks(table.posix, 3)).toBe(true)
  })

  it('does not when it fails the question', () => {
    const canLockRange = (): never => {
      throw new Error('EINVAL')
    }
    expect(knowsLocks({ canLockRange } as unknown as Posix, 3)).toBe(false)
  })
})
