/** `throttle`: requests wait until the limits of a group allow them. The group is an object of the graph. */
import {
  BlockError,
  type Child,
  type ChildHandle,
  defineDriver,
  type OpenContext,
  Passthrough,
  type Prepared,
  type ReopenChange,
} from '@diskgraph/core/driver'
import type { ThrottleGroup, ThrottleMember } from '@diskgraph/throttle'

/** Options of a `throttle` node. */
export interface ThrottleOptions {
  /** The image that is read and written. */
  file: Child
  /** Name of the group whose limits hold. */
  throttleGroup: string
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    throttle: { open: ThrottleOptions }
  }
}

class ThrottleImage extends Passthrough {
  readonly #find: (name: string) => ThrottleGroup
  #member: ThrottleMember
  /** Drained sections that hold the image now. */
  #drained = 0

  constructor(file: ChildHandle, find: (name: string) => ThrottleGroup, group: string) {
    super(file)
    this.#find = find
    this.#member = find(group).join()
  }

  override read(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    const wait = this.#member.admit('read', buf.length, signal)
    if (wait === undefined) return this.file.read(offset, buf, flags, signal)
    return wait.then(() => this.file.read(offset, buf, flags, signal))
  }

  override write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    const wait = this.#member.admit('write', buf.length, signal)
    if (wait === undefined) return this.file.write(offset, buf, flags, signal)
    return wait.then(() => this.file.write(offset, buf, flags, signal))
  }

  override writeZeroes(offset: number, length: number, flags: number, signal?: AbortSignal): Promise<void> {
    const wait = this.#member.admit('write', length, signal)
    if (wait === undefined) return this.file.writeZeroes(offset, length, flags, signal)
    return wait.then(() => this.file.writeZeroes(offset, length, flags, signal))
  }

  override discard(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    const wait = this.#member.admit('write', length, signal)
    if (wait === undefined) return this.file.discard(offset, length, signal)
    return wait.then(() => this.file.discard(offset, length, signal))
  }

  drainBegin(): void {
    this.#drained++
    this.#member.drainBegin()
  }

  drainEnd(): void {
    this.#drained--
    this.#member.drainEnd()
  }

  async reopen({ options }: ReopenChange): Promise<Prepared> {
    const group = this.#find((options as unknown as ThrottleOptions).throttleGroup)
    const commit = (): void => {
      if (group !== this.#member.group) this.#join(group)
    }
    return { commit, abort: () => undefined }
  }

  #join(group: ThrottleGroup): void {
    this.#member.leave()
    this.#member = group.join()
    for (let i = 0; i < this.#drained; i++) this.#member.drainBegin()
  }

  async close(): Promise<void> {
    this.#member.leave()
  }
}

function groupFinder(context: OpenContext<ThrottleOptions>): (name: string) => ThrottleGroup {
  return (name) => {
    try {
      return context.object('throttle-group', name) as ThrottleGroup
    } catch (cause) {
      throw new BlockError('EINVAL', `Throttle group '${name}' does not exist`, { cause })
    }
  }
}

/** The driver `throttle`. */
export const throttle = defineDriver<ThrottleOptions>()({
  name: 'throttle',
  kind: 'filter',
  description: 'Requests wait until the limits of a group allow them.',
  imageMethods: ['write', 'writeZeroes', 'discard', 'truncate', 'blockStatus'],
  options: {
    file: { type: 'child', role: 'filtered', required: true, description: 'The image that is read and written' },
    throttleGroup: {
      type: 'string',
      required: true,
      strong: true,
      reopen: true,
      description: 'Name of the group whose limits hold: an object `throttle-group` of the graph',
    },
  },
  open: async (context) =>
    new ThrottleImage(context.children.require('file'), groupFinder(context), context.options.throttleGroup),
})
