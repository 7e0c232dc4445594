/**
 * Image locks, the same bytes as QEMU takes, so that each sees the other.
 *
 * Permission i (0 consistent read, 1 write, 2 write unchanged, 3 resize) has two bytes in the file. A shared lock on
 * byte 100 + i says "I do this", a shared lock on byte 200 + i says "I do not let others do this". Nobody takes an
 * exclusive lock: whoever wants to do i asks whether an exclusive lock of 200 + i would be granted, and whoever does
 * not share i asks for 100 + i. Locks are taken first and asked about afterwards, so of two who come at the same time
 * at least one sees the other. The bytes may lie behind the end of the file. Locks belong to the open file
 * description: our own never stand against us, and all end when the descriptor closes.
 */
import { BlockError, Permission, type PermissionHooks, type Prepared } from '@diskgraph/core/driver'
import type { Posix } from '@diskgraph/posix'
import { fileError } from './errors.ts'

const usedBase = 100
const unsharedBase = 200
const permissions: readonly (readonly [bit: number, index: number, name: string])[] = [
  [Permission.ConsistentRead, 0, 'consistent read'],
  [Permission.Write, 1, 'write'],
  [Permission.WriteUnchanged, 2, 'write unchanged'],
  [Permission.Resize, 3, 'resize'],
]

/** The locks of one open file, changed in the two phases of {@link PermissionHooks}. */
export class ImageLocks implements PermissionHooks {
  readonly #posix: Posix
  readonly #filename: string
  #fd: number
  /** Permission bits that are in force. */
  #used = 0
  #unshared = 0
  /** Bits whose bytes are locked now: those in force, and those of a change under way. */
  #lockedUsed = 0
  #lockedUnshared = 0

  constructor(posix: Posix, fd: number, filename: string) {
    this.#posix = posix
    this.#fd = fd
    this.#filename = filename
  }

  prepare(used: number, shared: number): Prepared {
    const unshared = Permission.All & ~shared
    try {
      this.#lock(used, unshared)
      this.#check(used, unshared)
    } catch (error) {
      this.#unlockOthers()
      throw error
    }
    return {
      commit: () => {
        this.#used = used
        this.#unshared = unshared
        this.#unlockOthers()
      },
      abort: () => this.#unlockOthers(),
    }
  }

  /** Takes on `fd`, another descriptor of the same file, all that is locked here, and goes on with that one. */
  moveTo(fd: number): void {
    const used = this.#lockedUsed
    const unshared = this.#lockedUnshared
    const old = this.#fd
    this.#fd = fd
    this.#lockedUsed = 0
    this.#lockedUnshared = 0
    this.#lock(used, unshared)
    // The old descriptor is closed later; its locks must not stand against the new one's until then.
    for (const [bit, index] of permissions) {
      if ((used & bit) !== 0) this.#posix.unlockRange(old, usedBase + index, 1)
      if ((unshared & bit) !== 0) this.#posix.unlockRange(old, unsharedBase + index, 1)
    }
  }

  #lock(used: number, unshared: number): void {
    for (const [bit, index] of permissions) {
      if ((used & ~this.#lockedUsed & bit) !== 0) {
        this.#lockByte(usedBase + index)
        this.#lockedUsed |= bit
      }
      if ((unshared & ~this.#lockedUnshared & bit) !== 0) {
        this.#lockByte(unsharedBase + index)
        this.#lockedUnshared |= bit
      }
    }
  }

  #lockByte(offset: number): void {
    const attempt = `Failed to lock byte ${offset}`
    let locked: boolean
    try {
      locked = this.#posix.lockRange(this.#fd, offset, 1, 'shared')
    } catch (error) {
      throw fileError(error, attempt)
    }
    if (!locked) throw new BlockError('EAGAIN', attempt, { hint: this.#hint })
  }

  #check(used: number, unshared: number): void {
    for (const [bit, index, name] of permissions) {
      if ((used & bit) !== 0 && !this.#isFree(unsharedBase + index)) throw this.#conflict(`"${name}" lock`)
    }
    for (const [bit, index, name] of permissions) {
      if ((unshared & bit) !== 0 && !this.#isFree(usedBase + index)) throw this.#conflict(`shared "${name}" lock`)
    }
  }

  #isFree(offset: number): boolean {
    return this.#posix.canLockRange(this.#fd, offset, 1, 'exclusive')
  }

  #unlockOthers(): void {
    for (const [bit, index] of permissions) {
      if ((this.#lockedUsed & ~this.#used & bit) !== 0) this.#posix.unlockRange(this.#fd, usedBase + index, 1)
      if ((this.#lockedUnshared & ~this.#unshared & bit) !== 0) {
        this.#posix.unlockRange(this.#fd, unsharedBase + index, 1)
      }
    }
    this.#lockedUsed &= this.#used
    this.#lockedUnshared &= this.#unshared
  }

  #conflict(what: string): BlockError {
    return new BlockError('EAGAIN', `Failed to get ${what}`, { hint: this.#hint })
  }

  get #hint(): string {
    return `Is another process using the image [${this.#filename}]?`
  }
}

/** Whether the file system of `fd` knows locks of open file descriptions. */
export function knowsLocks(posix: Posix, fd: number): boolean {
  try {
    posix.canLockRange(fd, usedBase, 1, 'exclusive')
    return true
  } catch {
    return false
  }
}
