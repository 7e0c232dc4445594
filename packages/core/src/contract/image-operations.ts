/** What the operations on a whole image take and give: info, check, snapshots, amend, measure. */
import type { DirtyBitmap } from '../dirty-bitmap.ts'

/** A typed value of {@link DriverInfo.specific}: shown by `info` as `format-specific`. */
export type InfoValue =
  | string
  | number
  | boolean
  | readonly InfoValue[]
  | { readonly [key: string]: InfoValue | undefined }

/** What `info` tells of an image beyond its size. Keys of `specific` are camelCase and shown in kebab-case. */
export interface DriverInfo {
  readonly clusterSize?: number
  /** Bytes that the image takes in its own storage; protocols report it. */
  readonly allocatedSize?: number
  readonly encrypted?: boolean
  readonly compressed?: boolean
  /** What is not compressed cannot be written in parts, nor twice: copies write whole clusters, compressed. */
  readonly needsCompressedWrites?: boolean
  readonly dirty?: boolean
  readonly corrupt?: boolean
  /** The reference in the image as it is written there. */
  readonly backingFilename?: string
  readonly backingFormat?: string
  /** A name of the content, which changes with it: images that stand on it record it. */
  readonly contentId?: string
  /** The virtual size of VM state, where a snapshot has it. */
  readonly vmStateOffset?: number
  readonly specific?: { readonly type: string; readonly data: { readonly [key: string]: InfoValue | undefined } }
}

/** What `check` repairs. */
export type Repair = 'none' | 'leaks' | 'all'

/** How `check` runs. */
export interface CheckOptions {
  /** Default: none. */
  readonly repair?: Repair
  readonly signal?: AbortSignal | undefined
  /** Receives each finding as one line of text, as it is found. */
  readonly onFinding?: (kind: 'error' | 'leak' | 'repair' | 'info', text: string) => void
  readonly onProgress?: (done: number, total: number) => void
}

/** Result of a check, with the figures of QAPI's ImageCheck. */
export interface ImageCheck {
  /** Internal errors: the check itself could not read or repair something. */
  readonly checkErrors: number
  readonly corruptions: number
  readonly leaks: number
  readonly corruptionsFixed: number
  readonly leaksFixed: number
  /** Offset in the file behind the last cluster in use. */
  readonly imageEndOffset?: number
  readonly totalClusters?: number
  readonly allocatedClusters?: number
  readonly fragmentedClusters?: number
  readonly compressedClusters?: number
}

/** One internal snapshot, as QAPI's SnapshotInfo has it. */
export interface SnapshotInfo {
  readonly id: string
  readonly name: string
  /** Bytes of VM state stored with it. */
  readonly vmStateSize: number
  /** Seconds since the epoch, and nanoseconds on top. */
  readonly dateSeconds: number
  readonly dateNanoseconds: number
  readonly vmClockNanoseconds: number
  readonly icount?: number
  /** Virtual disk size when it was taken. */
  readonly diskSize?: number
}

/** What a new snapshot records besides the disk. */
export interface NewSnapshot {
  readonly name: string
  readonly id?: string
  readonly vmStateSize?: number
  readonly dateSeconds?: number
  readonly dateNanoseconds?: number
  readonly vmClockNanoseconds?: number
  readonly icount?: number
}

/** Internal snapshots of an image. Names are looked up by id first, then by name. All run drained. */
export interface Snapshots {
  list(): readonly SnapshotInfo[]
  create(snapshot: NewSnapshot): Promise<SnapshotInfo>
  /** Makes the disk what it was. EINVAL when the snapshot is missing or cannot be applied. */
  apply(idOrName: string): Promise<void>
  delete(idOrName: string): Promise<void>
  /** Shows the content of a snapshot through a read-only image until it is closed. */
  load(idOrName: string): Promise<void>
}

/** The VM state area behind the disk, addressed from 0. */
export interface VmState {
  read(offset: number, buf: Uint8Array, signal?: AbortSignal): Promise<void>
  write(offset: number, buf: Uint8Array, signal?: AbortSignal): Promise<void>
}

/** Options and progress of `amend`. */
export interface AmendRequest {
  /** Create options to change, validated, without defaults. */
  readonly options: Readonly<Record<string, unknown>>
  readonly force?: boolean
  readonly signal?: AbortSignal | undefined
  readonly onProgress?: (done: number, total: number) => void
}

/** How `compact` is steered. */
export interface CompactOptions {
  /** Ends it early, at a point where nothing is lost and what was done counts. */
  readonly signal?: AbortSignal | undefined
  /** In bytes to move. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined
}

/** What `compact` did, in bytes. */
export interface CompactResult {
  readonly moved: number
  /** How much shorter the file is. */
  readonly freed: number
}

/** Bytes that a new image takes at least, and with every byte of the disk written. */
export interface Measurement {
  readonly required: number
  readonly fullyAllocated: number
  readonly bitmaps?: number
}

/**
 * Dirty bitmaps that an image stores in itself, at the latest when it is closed. The node has those of `list` among its own, and
 * records in them. All run drained.
 */
export interface StoredBitmaps {
  /** In the order of the image. They are `persistent`; those whose bits are not known are `inconsistent`. */
  readonly list: readonly DirtyBitmap[]
  /** Whether this image can store any. */
  readonly supported: boolean
  /** Before bits are changed by other means than requests: from then on a crash leaves bitmaps that are inconsistent. */
  prepare(): Promise<void>
  /**
   * Stores `bitmap`, too, from now on; the result takes that back. EINVAL, ENOTSUP, EFBIG or ENOSPC, with the reason, when it
   * cannot be stored.
   */
  add(bitmap: DirtyBitmap): Promise<() => void>
  /** Takes a bitmap of `list` out of the image, all of it or nothing; by the result it is stored again. */
  remove(bitmap: DirtyBitmap): Promise<() => void>
}

/** A drive whose medium can be taken out. */
export interface RemovableMedium {
  readonly inserted: boolean
  readonly locked: boolean
  /** Opens the tray (true) or closes it. EBUSY while it is locked. */
  eject(open: boolean): Promise<void>
  lock(locked: boolean): Promise<void>
  /** Calls `listener` when a medium was changed, put in or taken out; the result ends that. */
  onChange(listener: () => void): () => void
}
