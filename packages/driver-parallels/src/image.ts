/**
 * An open Parallels image. The order of writes is that of table formats (EntryTable of @diskgraph/sparse). Before the
 * table first changes, the header says that the image is in use; closing takes that away.
 */
import { alignUp, type CheckOptions, type ChildHandle, type DriverInfo, type ImageCheck } from '@diskgraph/core/driver'
import { type EntryTable, SparseImage, TableMap } from '@diskgraph/sparse'
import { type CheckedImage, checkImage } from './check.ts'
import { Clusters } from './clusters.ts'
import { Field, type Header, inUseMagic } from './header.ts'

/** What an image is made from. */
interface ParallelsParts {
  readonly file: ChildHandle
  readonly header: Header
  readonly table: EntryTable
  readonly readOnly: boolean
  /** Asked for at every use: edges of the graph come and go. */
  backing(): ChildHandle | undefined
}

/** See the top of this file. */
export class ParallelsImage extends SparseImage implements CheckedImage {
  readonly file: ChildHandle
  readonly table: EntryTable
  readonly clusters: Clusters
  inUse: boolean
  foundInUse: boolean
  readonly #map: TableMap

  constructor({ file, header, table, readOnly, backing }: ParallelsParts) {
    const clusters = new Clusters(file, header, table)
    const { clusterSize } = header
    const map = new TableMap(clusters)
    super({ file, clusterSize, size: () => header.size, readOnly, map, backing })
    this.#map = map
    this.file = file
    this.table = table
    this.clusters = clusters
    this.inUse = header.inUse
    this.foundInUse = header.inUse
  }

  flush(): Promise<void> {
    return this.table.flush(this.file, async () => {
      if (!this.inUse) await this.#mark(inUseMagic)
      this.inUse = true
      await this.#map.whileNoneIsTaken(async () => {
        const { end } = this.clusters
        if (this.file.size < end) await this.file.truncate(end, { exact: false })
      })
    })
  }

  async close(): Promise<void> {
    if (this.data.readOnly) return
    await this.flush()
    const { end, furthest } = this.clusters
    // Space that was given back may have been written, whether the table changed or not; QEMU cuts the file here, too.
    const length = alignUp(end, this.file.limits.alignment)
    if ((this.inUse || furthest > length) && this.file.size > length) await this.file.truncate(length)
    if (this.inUse) await this.markClosed()
  }

  /** Says in the header that nobody has the image open, when all else is safe. */
  async markClosed(): Promise<void> {
    await this.file.flush()
    await this.#mark(0)
    this.inUse = false
    this.foundInUse = false
  }

  async #mark(value: number): Promise<void> {
    const bytes = new Uint8Array(4)
    new DataView(bytes.buffer).setUint32(0, value, true)
    await this.file.write(Field.inUse, bytes)
  }

  info(): Promise<DriverInfo> {
    return Promise.resolve({})
  }

  check(options: CheckOptions): Promise<ImageCheck> {
    return checkImage(this, options)
  }
}
