/**
 * Descriptors that the program was given, by its command line or by a client over a unix socket: by name for what takes
 * one (`getfd`), and in sets, of which each stands for a file `/dev/fdset/N` in several access modes (`add-fd`).
 *
 * A set whose descriptors have been removed stays as long as something is open through it, as in QEMU.
 */
import { closeSync, constants, openSync, readFileSync } from 'node:fs'
import { BlockError } from '@diskgraph/core'
import { native } from '@diskgraph/posix'
import type { TypeOf } from '@diskgraph/qapi'

interface Member {
  readonly fd: number
  readonly opaque: string | undefined
}

interface DescriptorSet {
  readonly members: Member[]
  /** Descriptors that are open through it. */
  readonly duplicates: Set<number>
}

/** How many a program keeps: more would take those that it needs itself. */
const most = 512

/** See the top of the file. What is added is the table's to close. */
export class DescriptorTable {
  readonly #named = new Map<string, number>()
  readonly #sets = new Map<number, DescriptorSet>()

  /** Keeps `fd` under a name, in place of what had it. EINVAL for a name that begins like a number. */
  name(name: string, fd: number): void {
    if (/^\d/.test(name)) {
      closeSync(fd)
      throw new BlockError('EINVAL', "Parameter 'fdname' expects a name not starting with a digit")
    }
    this.#mustHaveRoom(fd)
    const present = this.#named.get(name)
    if (present !== undefined) closeSync(present)
    this.#named.set(name, fd)
  }

  closeNamed(name: string): void {
    const fd = this.#named.get(name)
    if (fd === undefined) throw new BlockError('ENOENT', `File descriptor named '${name}' not found`)
    this.#named.delete(name)
    closeSync(fd)
  }

  /** Gives a named one away: it is the caller's then. */
  takeNamed(name: string): number {
    const fd = this.#named.get(name)
    if (fd === undefined) throw new BlockError('ENOENT', `File descriptor named '${name}' has not been found`)
    this.#named.delete(name)
    return fd
  }

  /** Adds `fd` to a set, which is made if it is not there; without `id` to a new one. */
  add(fd: number, id?: number, opaque?: string): TypeOf<'AddfdInfo'> {
    if (id !== undefined && id < 0) {
      closeSync(fd)
      throw new BlockError('EINVAL', "Parameter 'fdset-id' expects a non-negative value")
    }
    this.#mustHaveRoom(fd)
    let own = id ?? 0
    if (id === undefined) while (this.#sets.has(own)) own++
    const set = this.#sets.get(own) ?? { members: [], duplicates: new Set() }
    this.#sets.set(own, set)
    set.members.push({ fd, opaque })
    return { 'fdset-id': own, fd }
  }

  /** Removes one descriptor of a set, or all. ENOENT if there is none. */
  remove(id: number, fd?: number): void {
    const set = this.#sets.get(id)
    const gone = set?.members.filter((member) => fd === undefined || member.fd === fd) ?? []
    if (set === undefined || (fd !== undefined && gone.length === 0)) {
      const what = fd === undefined ? `fdset-id:${id}` : `fdset-id:${id}, fd:${fd}`
      throw new BlockError('ENOENT', `File descriptor named '${what}' not found`)
    }
    for (const member of gone) {
      set.members.splice(set.members.indexOf(member), 1)
      closeSync(member.fd)
    }
    this.#forgetEmpty(id, set)
  }

  list(): TypeOf<'FdsetInfo'>[] {
    const sets = [...this.#sets].sort(([one], [other]) => other - one)
    return sets.map(([id, { members }]) => ({
      fds: members.map(({ fd, opaque }) => ({ fd, ...(opaque === undefined ? {} : { opaque }) })),
      'fdset-id': id,
    }))
  }

  /** For the `file` driver: a duplicate of the descriptor that has the access mode which is asked for. */
  open(filename: string, writable: boolean): number {
    const [, digits] = /^\/dev\/fdset\/(\d{1,15})$/.exec(filename) ?? []
    if (digits === undefined) throw new BlockError('EINVAL', `Could not parse fdset ${filename}`)
    const set = this.#sets.get(Number(digits))
    const mode = writable ? constants.O_RDWR : constants.O_RDONLY
    const attempt = `Could not dup FD for ${filename} flags ${mode}`
    if (set === undefined) throw new BlockError('ENOENT', `${attempt}: No such file or directory`)
    const found = set.members.find(({ fd }) => statusFlags(fd).mode === mode)
    if (found !== undefined && statusFlags(found.fd).appends) {
      throw new BlockError(
        'EINVAL',
        `${attempt}: the descriptor was opened with O_APPEND, so that writes would go to the end`,
        {
          hint: 'open it without O_APPEND',
        },
      )
    }
    if (found === undefined) {
      throw new BlockError('EACCES', `${attempt}: Permission denied`, {
        hint: `add a descriptor to the set that was opened for reading${writable ? ' and writing' : ' alone'}`,
      })
    }
    const duplicate = native()?.duplicate(found.fd) ?? openSync(`/proc/self/fd/${found.fd}`, mode)
    set.duplicates.add(duplicate)
    return duplicate
  }

  /** For the `file` driver: a duplicate is about to be closed. */
  release(fd: number): void {
    for (const [id, set] of this.#sets) {
      if (set.duplicates.delete(fd)) this.#forgetEmpty(id, set)
    }
  }

  /** Closes all of them; duplicates stay with those who have them. */
  close(): void {
    for (const fd of this.#named.values()) closeSync(fd)
    for (const { members } of this.#sets.values()) for (const { fd } of members) closeSync(fd)
    this.#named.clear()
    this.#sets.clear()
  }

  #forgetEmpty(id: number, { members, duplicates }: DescriptorSet): void {
    if (members.length === 0 && duplicates.size === 0) this.#sets.delete(id)
  }

  #mustHaveRoom(fd: number): void {
    let count = this.#named.size
    for (const { members } of this.#sets.values()) count += members.length
    if (count < most) return
    closeSync(fd)
    throw new BlockError('ENOSPC', `${most} file descriptors are kept already`, { hint: 'close or remove some' })
  }
}

/** Who asks for a command. */
export interface Client {
  /** A descriptor that came with the command, which is the caller's then. EINVAL if none came. */
  takeDescriptor(): number
}

/** Descriptors of one client that no command has taken yet: those that came last. */
export class ReceivedDescriptors {
  #pending: readonly number[] = []

  /** Takes new ones in place of those that nobody wanted. */
  replace(fds: readonly number[]): void {
    this.close()
    this.#pending = fds
  }

  /** The first of them, which is the caller's then; the others are closed. EINVAL if there is none. */
  take(): number {
    const [first, ...others] = this.#pending
    this.#pending = others
    this.close()
    if (first === undefined) throw new BlockError('EINVAL', 'No file descriptor supplied via SCM_RIGHTS')
    return first
  }

  close(): void {
    for (const fd of this.#pending) closeSync(fd)
    this.#pending = []
  }
}

function statusFlags(fd: number): { readonly mode: number; readonly appends: boolean } {
  const [, flags = '0'] = /^flags:\s*([0-7]+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1')) ?? []
  const bits = Number.parseInt(flags, 8)
  return { mode: bits & 3, appends: (bits & constants.O_APPEND) !== 0 }
}
