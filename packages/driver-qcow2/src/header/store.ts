/**
 * The header of an open image: what it says, and its changes on disk. A change is one write, never a part of the
 * fields that belong together, and is flushed before it counts.
 *
 * When the write or the flush fails, nobody knows what a crash would leave: the old header or the new one. Both are
 * good as long as nothing else changes. So the header in memory stays what it was and is `unsure`; whoever is about
 * to write or to allocate metadata calls {@link HeaderStore.restore} first, which writes the old header again.
 */

import { Mutex } from '@diskgraph/clusters'
import type { ChildHandle } from '@diskgraph/core/driver'
import { type Header, serializeFields, serializeHeader, shortHeader } from './header.ts'
import { HeaderField, hasFeature, headerLengthV2, IncompatibleBit, withFeature } from './layout.ts'

/** What storage writes as a whole or not at all. */
const sector = 512

/** A change: what to write where, and the fields that it sets. */
interface HeaderChange {
  readonly offset: number
  readonly bytes: Uint8Array
  readonly changes: Partial<Header>
}

/** See the top of this file. */
export class HeaderStore {
  private readonly file: ChildHandle
  private current: Header
  /** Changes come from operations that hold the image's mutex, and from others: damage is noted at any time. */
  private readonly mutex = new Mutex()
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
  restore(): Promise<void> {
    return this.change((header) => {
      return this.unsure ? { offset: 0, bytes: serializeHeader(header), changes: {} } : undefined
    })
  }

  /** Writes the whole header with some fields changed: extensions and backing file name as well. */
  async update(changes: Partial<Header>): Promise<void> {
    const refusal = this.guard(0, serializeHeader({ ...this.current, ...changes }).byteLength)
    if (refusal !== undefined) await refusal
    return this.change((header) => ({ offset: 0, bytes: serializeHeader({ ...header, ...changes }), changes }))
  }

  /** Points the header at another active L1 table: one write of its 12 bytes. */
  setL1(l1TableOffset: number, l1Size: number): Promise<void> {
    return this.setFields(HeaderField.l1Size, HeaderField.refcountTableOffset, { l1TableOffset, l1Size })
  }

  /** Points the header at another refcount table: one write of its 12 bytes. */
  setRefcountTable(refcountTableOffset: number, refcountTableClusters: number): Promise<void> {
    const changes = { refcountTableOffset, refcountTableClusters }
    return this.setFields(HeaderField.refcountTableOffset, HeaderField.nbSnapshots, changes)
  }

  /** Points the header at another snapshot table: one write of its 12 bytes. */
  setSnapshotTable(snapshotsOffset: number, nbSnapshots: number): Promise<void> {
    return this.setFields(HeaderField.nbSnapshots, headerLengthV2, { snapshotsOffset, nbSnapshots })
  }

  /**
   * Puts other tables in charge, all at once: one write, within the first sector, of everything that the header says
   * about tables, sizes and widths.
   */
  setTables(changes: Partial<Header>): Promise<void> {
    const { version } = { ...this.current, ...changes }
    return this.setFields(HeaderField.size, version === 2 ? headerLengthV2 : HeaderField.headerLength, changes)
  }

  /** Writes another virtual disk size. */
  setSize(size: number): Promise<void> {
    return this.setFields(HeaderField.size, HeaderField.cryptMethod, { size })
  }

  /** Sets or clears an incompatible feature bit. Version 2 images have none. */
  setIncompatible(bit: number, set: boolean): Promise<void> {
    return this.change((header) => {
      if (header.version < 3) return undefined
      const incompatibleFeatures = withFeature(header.incompatibleFeatures, bit, set)
      return fieldChange(HeaderField.incompatibleFeatures, HeaderField.compatibleFeatures, header, {
        incompatibleFeatures,
      })
    })
  }

  private setFields(from: number, end: number, changes: Partial<Header>): Promise<void> {
    return this.change((header) => fieldChange(from, end, header, changes))
  }

  /** Makes one change after the other: `plan` says what to write, given the header that stands there by then. */
  private async change(plan: (header: Header) => HeaderChange | undefined): Promise<void> {
    const wait = this.mutex.lock()
    if (wait !== undefined) await wait
    try {
      const next = plan(this.current)
      if (next === undefined) return
      const certain = !this.unsure
      if (!certain && next.offset !== 0) await this.store(0, serializeHeader(this.current), false)
      this.unsure = true
      await this.store(next.offset, next.bytes, certain)
      this.current = { ...this.current, ...next.changes }
      this.unsure = false
    } finally {
      this.mutex.unlock()
    }
  }

  /** `certain`: what stands on disk is {@link value}. */
  private async store(offset: number, bytes: Uint8Array, certain: boolean): Promise<void> {
    if (offset > 0 || bytes.byteLength <= sector) return this.write(offset, bytes)
    const before = serializeHeader(this.current)
    if (certain && isSame(before.subarray(sector), bytes.subarray(sector))) {
      return this.write(0, bytes.subarray(0, sector))
    }
    // What stands behind the first sector moves. Meanwhile the header does without it, so that no crash leaves a name or
    // an extension that is half of one and half of another.
    const bridge = shortHeader(this.current, sector, Math.max(before.byteLength, bytes.byteLength))
    if (bridge !== undefined) {
      if (bridge.name !== undefined) await this.write(bridge.nameOffset, bridge.name)
      await this.write(0, bridge.sector)
    }
    await this.write(sector, bytes.subarray(sector))
    // The fields go last, in a write that cannot be torn.
    await this.write(0, bytes.subarray(0, sector))
  }

  private async write(offset: number, bytes: Uint8Array): Promise<void> {
    await this.file.write(offset, bytes)
    await this.file.flush()
  }
}

/** Writes the bytes between two fields as they are with `changes`, which concern nothing else. */
function fieldChange(from: number, end: number, header: Header, changes: Partial<Header>): HeaderChange {
  const bytes = serializeFields({ ...header, ...changes })
  return { offset: from, bytes: bytes.subarray(from, end), changes }
}

function isSame(one: Uint8Array, other: Uint8Array): boolean {
  return one.byteLength === other.byteLength && one.every((byte, i) => byte === other[i])
}
