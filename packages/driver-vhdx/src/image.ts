/** An open VHDX image. */

import { type BackingFile, Kind } from '@diskgraph/clusters'
import {
  BlockError,
  type CheckOptions,
  type ChildHandle,
  type DriverInfo,
  Flag,
  type ImageCheck,
  type RandomSource,
} from '@diskgraph/core/driver'
import { checkedRuns, SparseImage, type TableFile, TwoLevelMap } from '@diskgraph/sparse'
import { Blocks } from './blocks.ts'
import type { Headers } from './header.ts'
import { newGuid } from './layout.ts'
import { LogWriter } from './log-writer.ts'
import { PartialBlocks } from './partial-blocks.ts'
import type { Disk } from './regions.ts'

/** What an image is made from. */
interface VhdxParts {
  readonly file: ChildHandle
  readonly tables: TableFile
  readonly headers: Headers
  readonly disk: Disk
  /** Bytes of the file, as the log has it. */
  readonly end: number
  /** A log was replayed when the image was opened. */
  readonly replayed: boolean
  readonly readOnly: boolean
  readonly random: RandomSource
  /** The name of the image below. */
  readonly parentName: string | undefined
  backing(): ChildHandle | undefined
}

/** See the top of this file. */
export class VhdxImage extends SparseImage {
  readonly #map: TwoLevelMap
  readonly #parts: VhdxParts
  #replayed: boolean
  #marked = false
  #marking: Promise<void> | undefined

  constructor(parts: VhdxParts) {
    const { file: storage, tables, disk, end, headers, random, readOnly, parentName } = parts
    const log = new LogWriter(storage, headers, random)
    const blocks = new Blocks({ storage, tables, disk, end, log })
    const map = new TwoLevelMap(blocks)
    const backing = (): ChildHandle | undefined => parts.backing()
    super({
      file: storage,
      clusterSize: disk.blockSize,
      size: () => disk.size,
      readOnly,
      map,
      backing: backing as () => BackingFile | undefined,
      namesBacking: () => parentName !== undefined,
      ...(disk.parent === undefined ? {} : { compressed: new PartialBlocks({ storage, tables, map, disk, backing }) }),
    })
    this.#map = map
    this.#parts = parts
    this.#replayed = parts.replayed
  }

  override write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    if (this.#mustMark(flags)) return this.#mark().then(() => super.write(offset, buf, flags, signal))
    return super.write(offset, buf, flags, signal)
  }

  override writeZeroes(offset: number, length: number, flags: number, signal?: AbortSignal): Promise<void> {
    if (this.#mustMark(flags)) return this.#mark().then(() => super.writeZeroes(offset, length, flags, signal))
    return super.writeZeroes(offset, length, flags, signal)
  }

  override discard(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    if (this.#mustMark(0)) return this.#mark().then(() => super.discard(offset, length, signal))
    return super.discard(offset, length, signal)
  }

  #mustMark(flags: number): boolean {
    return !this.#marked && (flags & Flag.Unchanged) === 0
  }

  /** Gives the content another name before it changes: images that stand on it must not take it for what it was. */
  #mark(): Promise<void> {
    const { headers, random } = this.#parts
    this.#marking ??= headers
      .change({ fileWriteGuid: newGuid(random), dataWriteGuid: newGuid(random) })
      .then(() => {
        this.#marked = true
      })
      .finally(() => {
        this.#marking = undefined
      })
    return this.#marking
  }

  flush(): Promise<void> {
    return this.#map.flush()
  }

  async close(): Promise<void> {
    if (!this.data.readOnly) await this.flush()
  }

  info(): Promise<DriverInfo> {
    const { disk, headers, parentName } = this.#parts
    return Promise.resolve({
      clusterSize: disk.blockSize,
      dirty: false,
      contentId: headers.current.dataWriteGuid,
      ...(parentName === undefined ? {} : { backingFilename: parentName, backingFormat: 'vhdx' }),
    })
  }

  /** Finds blocks that stand outside of the file. What the log repaired when the image was opened counts as repaired. */
  async check(options: CheckOptions): Promise<ImageCheck> {
    const { repair, onFinding } = options
    const { blockSize } = this.#parts.disk
    let corruptions = 0
    for await (const { offset, kind } of checkedRuns(this.#map, this.size, options)) {
      if (kind !== Kind.damaged) continue
      corruptions++
      onFinding?.('error', `ERROR: block ${Math.floor(offset / blockSize)} stands outside of the file`)
    }
    const repaired = this.#replayed && repair !== undefined && repair !== 'none'
    if (repaired) this.#replayed = false
    return { checkErrors: 0, corruptions, leaks: 0, corruptionsFixed: repaired ? 1 : 0, leaksFixed: 0 }
  }
}

/** Throws EINVAL when `child` is not what the image below was when the image was made. */
export function checkParent(child: ChildHandle, contentId: string | undefined, wanted: readonly string[]): void {
  if (contentId !== undefined && wanted.includes(contentId)) return
  throw new BlockError('EINVAL', `'${child.filename}' is not the image that this one was made on`, {
    hint: 'it has been changed since, or is another one: what the image shows of it would be wrong',
  })
}
