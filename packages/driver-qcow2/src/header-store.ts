/**
 * The header of an open image: what it says, and its changes on disk. A change is one write, never a part of the
 * fields that belong together, and is flushed before it counts.
 *
 * When the write or the flush fails, nobody knows what a crash would leave: the old header or the new one. Both are
 * good as long as nothing else changes. So the header in memory stays what it was and is `unsure`; whoever is about
 * to write or to allocate metadata calls {@link HeaderStore.restore} first, which writes the old header again.
 */
import type { ChildHandle } from '@diskgraph/core'
import { viewOf, writeU64 } from './bytes.ts'
import { type Header, serializeHeader } from './header.ts'
import { hasFeature, withFeature } from './header-checks.ts'
import { HeaderField, headerLengthV2, IncompatibleBit } from './layout.ts'

/** What storage writes as a whole or not at all. */
const sector = 512

/** See the top of this file. */
export class HeaderStore {
  private readonly file: ChildHandle
  private current: Header
  /** What stands on disk may differ from {@link value}, because a change has failed. */
  unsure = false
  /** A guard against writing over foreign structures; set when the image is put together. */
  guard: (offset: number, length: number) => Promise<void> | undefined = () => undefined

  constructor(file: ChildHandle, header: Header) {
    this.file = file
    this.current = header
  }

  /** What the header says now. */
  get value(): Header {
    return this.current
  }

  get dirty(): boolean {
    return hasFeature(this.current.incompatibleFeatures, IncompatibleBit.dirty)
  }

  get corrupt(): boolean {
    return hasFeature(this.current.incompatibleFeatures, IncompatibleBit.corrupt)
  }

  /** Writes the header again after a change has failed, and makes it safe. */
  async restore(): Promise<void> {
    if (!this.unsure) return
    await this.change(0, serializeHeader(this.current), {})
  }

  /** Writes the whole header with some fields changed: extensions and backing file name as well. */
  async update(changes: Partial<Header>): Promise<void> {
    const bytes = serializeHeader({ ...this.current, ...changes })
    const refusal = this.guard(0, bytes.byteLength)
    if (refusal !== undefined) await refusal
    return this.change(0, bytes, changes)
  }

  /** Points the header at another active L1 table: one write of its 12 bytes. */
  setL1(offset: number, entries: number): Promise<void> {
    const bytes = new Uint8Array(12)
    const view = viewOf(bytes)
    view.setUint32(0, entries)
    writeU64(view, 4, offset)
    return this.change(HeaderField.l1Size, bytes, { l1TableOffset: offset, l1Size: entries })
  }

  /** Points the header at another refcount table: one write of its 12 bytes. */
  setRefcountTable(offset: number, clusters: number): Promise<void> {
    const bytes = new Uint8Array(12)
    const view = viewOf(bytes)
    writeU64(view, 0, offset)
    view.setUint32(8, clusters)
    const changes = { refcountTableOffset: offset, refcountTableClusters: clusters }
    return this.change(HeaderField.refcountTableOffset, bytes, changes)
  }

  /** Points the header at another snapshot table: one write of its 12 bytes. */
  setSnapshotTable(offset: number, snapshots: number): Promise<void> {
    const bytes = new Uint8Array(12)
    const view = viewOf(bytes)
    view.setUint32(0, snapshots)
    writeU64(view, 4, offset)
    return this.change(HeaderField.nbSnapshots, bytes, { snapshotsOffset: offset, nbSnapshots: snapshots })
  }

  /**
   * Puts other tables in charge, all at once: one write, within the first sector, of everything that the header says
   * about tables, sizes and widths.
   */
  setTables(changes: Partial<Header>): Promise<void> {
    const header = { ...this.current, ...changes }
    const end = header.version === 2 ? headerLengthV2 : HeaderField.headerLength
    return this.change(HeaderField.size, serializeHeader(header).subarray(HeaderField.size, end), changes)
  }

  /** Writes another virtual disk size. */
  setSize(size: number): Promise<void> {
    const bytes = new Uint8Array(8)
    writeU64(viewOf(bytes), 0, size)
    return this.change(HeaderField.size, bytes, { size })
  }

  /** Sets or clears an incompatible feature bit. Version 2 images have none. */
  async setIncompatible(bit: number, set: boolean): Promise<void> {
    if (this.current.version < 3) return
    const incompatibleFeatures = withFeature(this.current.incompatibleFeatures, bit, set)
    const bytes = new Uint8Array(8)
    viewOf(bytes).setBigUint64(0, incompatibleFeatures)
    return this.change(HeaderField.incompatibleFeatures, bytes, { incompatibleFeatures })
  }

  private async change(offset: number, bytes: Uint8Array, changes: Partial<Header>): Promise<void> {
    const whole = offset === 0
    if (this.unsure && !whole) await this.restore()
    this.unsure = true
    let first = bytes
    if (whole && bytes.byteLength > sector) {
      // The fields go last, in a write that cannot be torn.
      await this.file.write(sector, bytes.subarray(sector))
      await this.file.flush()
      first = bytes.subarray(0, sector)
    }
    await this.file.write(offset, first)
    await this.file.flush()
    this.current = { ...this.current, ...changes }
    this.unsure = false
  }
}
