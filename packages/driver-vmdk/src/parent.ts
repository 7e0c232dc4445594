/**
 * The backing file of an image, which records the CID of its content. A writer of the backing file changes that, and
 * what the image shows of it would be another disk's: so it is compared before the first read.
 */

import type { BackingFile } from '@diskgraph/clusters'
import { BlockError, type ChildHandle } from '@diskgraph/core/driver'
import { hex } from './descriptor.ts'
import { noParent } from './layout.ts'

/** See the top of this file. */
export class Parent {
  readonly #child: () => ChildHandle | undefined
  readonly #cid: number
  #checked: boolean
  #checking: Promise<void> | undefined

  /** `child` is asked at every use: edges of the graph come and go. */
  constructor(child: () => ChildHandle | undefined, cid: number) {
    this.#child = child
    this.#cid = cid
    this.#checked = cid === noParent
  }

  /** What an extent that begins at `start` stands on. */
  from(start: number): BackingFile | undefined {
    const child = this.#child()
    if (child === undefined || (this.#checked && start === 0)) return child
    return {
      size: Math.max(0, child.size - start),
      read: async (offset, buf, flags, signal) => {
        await this.#check(child)
        return child.read(start + offset, buf, flags, signal)
      },
      chainStatus: async (offset, length, signal, bottom) => {
        await this.#check(child)
        return child.chainStatus(start + offset, length, signal, bottom)
      },
    }
  }

  async #check(child: ChildHandle): Promise<void> {
    if (this.#checked) return
    this.#checking ??= this.#compare(child).finally(() => {
      this.#checking = undefined
    })
    return this.#checking
  }

  async #compare(child: ChildHandle): Promise<void> {
    const { specific } = await child.info()
    const cid = specific?.type === 'vmdk' ? specific.data.cid : undefined
    if (cid !== this.#cid) {
      const found = typeof cid === 'number' ? `the CID ${hex(cid)}` : 'no CID'
      throw new BlockError(
        'EINVAL',
        `the backing file '${child.filename}' has ${found}, and the image was made on ${hex(this.#cid)}`,
        { hint: 'it has been changed since, or is another file: what the image shows of it would be wrong' },
      )
    }
    this.#checked = true
  }
}
