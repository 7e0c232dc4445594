/**
 * Copy-on-read: what a read brings up from a backing file is written into the layer that was read.
 *
 * Whole clusters are copied, so that the layer below need not be asked for them again; the write does not change
 * what anybody sees and says so. Copies and changes run one after another: a copy puts back what it has read, and a
 * change that came between would be lost.
 */
import { type Disk, Flag } from '@diskgraph/core'
import { alignDown, alignUp } from '@diskgraph/core/driver'

const longest = 2 ** 20

/** See the top of the file. */
export class CopyOnRead {
  readonly #disk: Disk
  readonly #clusterSize: number
  #last: Promise<void> = Promise.resolve()

  constructor(disk: Disk, clusterSize: number) {
    this.#disk = disk
    this.#clusterSize = Math.max(clusterSize, 512)
  }

  /** Copies what of a range is not in the top layer yet. */
  fetch(offset: number, length: number): Promise<void> {
    return this.inOrder(() => this.#fetch(offset, length))
  }

  /** Runs `work` when the copies and changes before it have ended. */
  inOrder(work: () => Promise<void>): Promise<void> {
    const ended = this.#last.then(work)
    this.#last = ended.catch(() => undefined)
    return ended
  }

  async #fetch(offset: number, length: number): Promise<void> {
    const { node, size } = this.#disk
    const end = Math.min(alignUp(offset + length, this.#clusterSize), size)
    for (let at = alignDown(offset, this.#clusterSize); at < end; ) {
      const status = await node.blockStatus(at, end - at)
      const piece = status.allocated ? status.length : Math.min(status.length, longest)
      if (!status.allocated) await this.#copy(at, piece)
      at += piece
    }
  }

  async #copy(offset: number, length: number): Promise<void> {
    const buf = new Uint8Array(length)
    await this.#disk.read(offset, buf)
    await this.#disk.write(offset, buf, Flag.Unchanged)
  }
}
