/**
 * A dynamic image. New blocks overwrite the footer at the end of the file, so it is written anew behind them with each
 * flush, before the table points to them:
 *
 *     data, bitmaps, footer │ flush │ table
 *
 * Until then the copy at the start of the file is the footer; a writer that opens the image puts the one at the end right.
 */
import type { BackingFile } from '@diskgraph/clusters'
import { type ChildHandle, type DriverInfo, errorCodeOf } from '@diskgraph/core/driver'
import { type EntryTable, SparseImage, TableMap } from '@diskgraph/sparse'
import { Blocks } from './blocks.ts'
import { footerSize } from './layout.ts'
import type { ParentName } from './parent.ts'
import { PartialBlocks } from './partial-blocks.ts'

/** What a dynamic image is made from. */
interface DynamicParts {
  readonly file: ChildHandle
  readonly footer: Uint8Array
  readonly size: number
  readonly blockSize: number
  readonly table: EntryTable
  /** Where the first block may stand. */
  readonly start: number
  readonly readOnly: boolean
  readonly uuid: string
  /** The image below, of a differencing one. */
  readonly parent: ParentName | undefined
  backing(): ChildHandle | undefined
}

/** Storage whose length cannot change keeps what stands behind the footer: a device, or a disk in another image. */
function keepLength(error: unknown): void {
  if (errorCodeOf(error) !== 'ENOTSUP') throw error
}

/** See the top of this file. */
export class DynamicImage extends SparseImage {
  readonly file: ChildHandle
  readonly #footer: Uint8Array
  readonly #table: EntryTable
  readonly #blocks: Blocks
  readonly #partial: PartialBlocks | undefined
  readonly #facts: Pick<DynamicParts, 'uuid' | 'parent'>

  constructor({ file, footer, size, blockSize, table, start, readOnly, uuid, parent, backing }: DynamicParts) {
    const differs = parent !== undefined
    const blocks = new Blocks(file, table, { start, blockSize, differs })
    const partial = differs ? new PartialBlocks({ file, table, blocks, size, backing }) : undefined
    super({
      file,
      clusterSize: blockSize,
      size: () => size,
      readOnly,
      map: new TableMap(blocks),
      ...(partial === undefined
        ? {}
        : { backing: backing as () => BackingFile | undefined, namesBacking: () => true, compressed: partial }),
    })
    this.#partial = partial
    this.#facts = { uuid, parent }
    this.file = file
    this.#footer = footer
    this.#table = table
    this.#blocks = blocks
  }

  override write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    const completed = this.#partial?.complete(offset, buf.length)
    if (completed === undefined) return super.write(offset, buf, flags, signal)
    return completed.then(() => super.write(offset, buf, flags, signal))
  }

  override writeZeroes(offset: number, length: number, flags: number, signal?: AbortSignal): Promise<void> {
    const completed = this.#partial?.complete(offset, length)
    if (completed === undefined) return super.writeZeroes(offset, length, flags, signal)
    return completed.then(() => super.writeZeroes(offset, length, flags, signal))
  }

  flush(): Promise<void> {
    return this.#table.flush(this.file, async () => {
      const { fresh, bitmapSize } = this.#blocks
      const bitmap = new Uint8Array(bitmapSize).fill(0xff)
      const written = fresh.slice()
      for (const host of written) await this.file.write(host - bitmapSize, bitmap)
      await this.file.write(this.#blocks.end, this.#footer)
      this.#blocks.fresh = this.#blocks.fresh.filter((host) => !written.includes(host))
    })
  }

  /** Also puts the footer right that a crash or a failed write has left. */
  async close(): Promise<void> {
    if (this.data.readOnly) return
    await this.flush()
    const { end } = this.#blocks
    const found = new Uint8Array(footerSize)
    await this.file.read(end, found)
    if (found.some((byte, i) => byte !== this.#footer[i])) await this.file.write(end, this.#footer)
    if (this.file.size > end + footerSize) await this.file.truncate(end + footerSize).catch(keepLength)
  }

  info(): Promise<DriverInfo> {
    const { uuid, parent } = this.#facts
    return Promise.resolve({
      clusterSize: this.#blocks.clusterSize,
      dirty: false,
      contentId: uuid,
      ...(parent === undefined ? {} : { backingFilename: parent.filename, backingFormat: 'vpc' }),
    })
  }
}
