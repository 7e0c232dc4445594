/**
 * The header of an open image: what it says, and its changes on disk. A change is one write, never a part of the
 * fields that belong together; nothing is flushed here unless a method says so.
 */
import type { ChildHandle } from '@diskgraph/core'
import { viewOf, writeU64 } from './bytes.ts'
import { type Header, serializeHeader } from './header.ts'
import { hasFeature, withFeature } from './header-checks.ts'
import { HeaderField, IncompatibleBit } from './layout.ts'

/** See the top of this file. */
export class HeaderStore {
  private readonly file: ChildHandle
  private current: Header
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

  /** Writes the whole header with some fields changed: extensions and backing file name as well. */
  async update(changes: Partial<Header>): Promise<void> {
    const header = { ...this.current, ...changes }
    const bytes = serializeHeader(header)
    const refusal = this.guard(0, bytes.byteLength)
    if (refusal !== undefined) await refusal
    await this.file.write(0, bytes)
    this.current = header
  }

  /** Points the header at another active L1 table: one write of its 12 bytes. */
  async setL1(offset: number, entries: number): Promise<void> {
    const bytes = new Uint8Array(12)
    const view = viewOf(bytes)
    view.setUint32(0, entries)
    writeU64(view, 4, offset)
    await this.file.write(HeaderField.l1Size, bytes)
    this.current = { ...this.current, l1TableOffset: offset, l1Size: entries }
  }

  /** Points the header at another refcount table: one write of its 12 bytes. */
  async setRefcountTable(offset: number, clusters: number): Promise<void> {
    const bytes = new Uint8Array(12)
    const view = viewOf(bytes)
    writeU64(view, 0, offset)
    view.setUint32(8, clusters)
    await this.file.write(HeaderField.refcountTableOffset, bytes)
    this.current = { ...this.current, refcountTableOffset: offset, refcountTableClusters: clusters }
  }

  /** Points the header at another snapshot table: one write of its 12 bytes. */
  async setSnapshotTable(offset: number, snapshots: number): Promise<void> {
    const bytes = new Uint8Array(12)
    const view = viewOf(bytes)
    view.setUint32(0, snapshots)
    writeU64(view, 4, offset)
    await this.file.write(HeaderField.nbSnapshots, bytes)
    this.current = { ...this.current, snapshotsOffset: offset, nbSnapshots: snapshots }
  }

  /** Writes another virtual disk size. */
  async setSize(size: number): Promise<void> {
    const bytes = new Uint8Array(8)
    writeU64(viewOf(bytes), 0, size)
    await this.file.write(HeaderField.size, bytes)
    this.current = { ...this.current, size }
  }

  /** Sets or clears an incompatible feature bit and flushes the file. Version 2 images have none. */
  async setIncompatible(bit: number, set: boolean): Promise<void> {
    if (this.current.version < 3) return
    const incompatibleFeatures = withFeature(this.current.incompatibleFeatures, bit, set)
    const bytes = new Uint8Array(8)
    viewOf(bytes).setBigUint64(0, incompatibleFeatures)
    await this.file.write(HeaderField.incompatibleFeatures, bytes)
    await this.file.flush()
    this.current = { ...this.current, incompatibleFeatures }
  }
}
