/**
 * Copy-on-read: what a read brings up from a backing file is written into the layer that was read.
 *
 * Whole clusters are copied, so that the layer below need not be asked for them again; the write does not change
 * what anybody sees and says so. Fetches run one after another: two of the same cluster would copy it twice, and a
 * late one could put old bytes over a write that came between. Writes of the same session wait for them, too.
 */
import { alignDown, alignUp, type Disk, Flag } from '@diskgraph/core'

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
    const fetched = this.#last.then(() => this.#fetch(offset, length))
    this.#last = fetched.catch(() => undefined)
    return fetched
  }

  /** Resolves when no copy is under way. */
  idle(): Promise<void> {
    return this.#last
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
