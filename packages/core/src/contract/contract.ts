/**
 * The contract between the core and a driver. A driver package exports one {@link DriverDescriptor}; opening it
 * gives an {@link OpenImage}. Whatever method an image leaves out is a capability that is left out: the core
 * answers ENOTSUP, or emulates it where QEMU does (zeroes by writing, FUA by flushing, discard as a no-op).
 *
 * Promises that the core makes to every image, so that no driver checks them again:
 * - offsets and lengths are safe integers, within `size` (a write may pass it only on a child whose parent has
 *   the resize permission), multiples of `limits.alignment`, no longer than `limits.maxTransfer`;
 * - `write`, `writeZeroes`, `discard`, `truncate` are never called on a read-only node;
 * - `truncate`, `amend`, `compact`, `check` with repair, `reopen`, snapshot operations and `close` run drained: no
 *   other request is in flight. Reads, writes, zeroes, discards, flushes and status queries may overlap freely.
 * Promises that an image makes: there are no short transfers; a rejected request leaves the buffer's content
 * undefined but touches nothing outside it; the buffer belongs to the caller again when the promise settles;
 * a read writes every byte of the buffer.
 */

import type { ErrorCode } from '../errors.ts'
import type {
  AmendRequest,
  CheckOptions,
  CompactOptions,
  CompactResult,
  DriverInfo,
  ImageCheck,
  RemovableMedium,
  Repair,
  Snapshots,
  StoredBitmaps,
  VmState,
} from './image-operations.ts'

/** Request flags, or-ed together. */
export const Flag = {
  /** The data is on stable storage before the request completes. */
  Fua: 1,
  /** Zeroes may be made by deallocating. */
  MayUnmap: 2,
  /** Zeroes must be efficient: ENOTSUP rather than writing them out. */
  NoFallback: 4,
  /** The data is stored compressed; needs whole clusters. */
  Compressed: 8,
  /** The write does not change what a reader sees (copy-on-read, stream); needs only write-unchanged permission. */
  Unchanged: 16,
} as const

/** The promise that a request which finished at once returns: one shared object, so that nothing is allocated. */
export const done: Promise<void> = Promise.resolve()

/** The permissions of an edge, as bits: what a parent does with a child, or lets others do. */
export const Permission = {
  ConsistentRead: 1,
  Write: 2,
  WriteUnchanged: 4,
  Resize: 8,
  All: 15,
  /** To be shared only, beside the others: the backing files of the image may be changed. */
  BackingChange: 16,
} as const

/** What a child is to its parent; decides the permissions of the edge. */
export type ChildRole =
  /** Holds both metadata and data of a format. */
  | 'storage'
  /** Holds guest data only. */
  | 'data'
  /** Holds metadata only. */
  | 'metadata'
  /** The one child whose content a filter shows. */
  | 'filtered'
  /** Backing file: read where the parent has no data. */
  | 'cow'
  /** One of several equal children (quorum, blkverify): written whenever the parent is. */
  | 'replica'

/** Limits and preferences of an image, in bytes. */
export interface Limits {
  /** Offsets and lengths of all requests are multiples of this. A power of two; 1 when anything goes. */
  readonly alignment: number
  /** Longest read or write that the image takes at once. */
  readonly maxTransfer: number
  readonly maxWriteZeroes: number
  /** `writeZeroes` is called with multiples of this; the edges of a request are written as data. */
  readonly writeZeroesAlignment: number
  readonly maxDiscard: number
  /** `discard` is called with multiples of this; the edges of a request are dropped. */
  readonly discardAlignment: number
  /** A request of this length and alignment is efficient (a cluster, say). */
  readonly optimalTransfer: number
}

/** What an image knows of a range of its own layer, without its backing file. */
export interface BlockStatus {
  /** How many bytes from the asked offset this holds for; at least 1 (aligned), at most the length asked for. */
  readonly length: number
  /** Reading takes stored data (possibly zeroes). */
  readonly data: boolean
  /** The range reads as zeroes. With `allocated` false: only if nothing below says otherwise. */
  readonly zero: boolean
  /** This layer decides the content; false means that a backing file, if there is one, does. */
  readonly allocated: boolean
  /** Where in `file` the data stands unencoded, when it does. */
  readonly offset?: number
  /** The child that `offset` refers to. */
  readonly file?: ChildHandle
  /**
   * The status of `file` at `offset` may tell more: that stored data is zeroes (preallocated images), or all there
   * is to tell (raw formats, filters).
   */
  readonly recurse?: 'zeroes' | 'all'
  readonly compressed?: boolean
}

/** How `truncate` sets a new size. */
export interface TruncateOptions {
  /** Fail rather than end up with another size (files grow to whole blocks otherwise). Default false. */
  readonly exact?: boolean
  readonly preallocation?: Preallocation
  /** The new range must read as zeroes, whatever a backing file holds. Default false. */
  readonly zero?: boolean
}

/** How much of a new range is allocated at once. */
export type Preallocation = 'off' | 'metadata' | 'falloc' | 'full'

/** A change that is ready: exactly one of the two is called, and neither can fail. */
export interface Prepared {
  commit(): void
  /** Everything is as it was before. */
  abort(): void
}

/** How an image hears of its permissions before they change, so that a whole graph changes or nothing does. */
export interface PermissionHooks {
  /**
   * Takes what the new bits need on top of the old ones; throws when another process stands against it, and then
   * holds what it held. `commit` gives back what the new bits no longer need. One change at a time.
   */
  prepare(permissions: number, shared: number): Promise<Prepared> | Prepared
}

/** The cache options of a node. `writeback` belongs to devices: without it every write is flushed. */
export interface CacheOptions {
  readonly direct: boolean
  readonly noFlush: boolean
}

/** What changes on {@link OpenImage.reopen}. */
export interface ReopenChange {
  /** All options of the driver, the new values among them. */
  readonly options: Readonly<Record<string, unknown>>
  readonly readOnly: boolean
  readonly cache: CacheOptions
  readonly discard: 'ignore' | 'unmap'
}

/** An image, device or stream that a driver has opened. See the promises at the top of this file. */
export interface OpenImage {
  /** Virtual size in bytes. A plain property or getter; may grow by writes where the image allows it. */
  readonly size: number
  readonly limits?: Partial<Limits>
  /** The flags that `write` honours itself; the core emulates or drops the others. */
  readonly writeFlags?: number
  /** The flags that `writeZeroes` honours itself. */
  readonly zeroFlags?: number
  /** Same storage, same string (device and inode of a file, canonical URL): backing loops are found by it. */
  readonly identity?: string
  /** New ranges of a growing image read as zeroes (files do; block devices may not). Default true. */
  readonly zeroInit?: boolean

  read(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void>
  write?(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void>
  writeZeroes?(offset: number, length: number, flags: number, signal?: AbortSignal): Promise<void>
  discard?(offset: number, length: number, signal?: AbortSignal): Promise<void>
  /** Writes the image's own caches to its children; the core then flushes the children. Protocols sync. */
  flush?(signal?: AbortSignal): Promise<void>
  /** `flush` has flushed the children too (and may tolerate that one of them failed). */
  readonly flushesChildren?: boolean
  blockStatus?(offset: number, length: number, signal?: AbortSignal): Promise<BlockStatus>
  /**
   * Whether what maps the range from `offset` on is lost (it stood behind the end of a file that was cut), so that it
   * reads as if nothing were there; `length` says for how many bytes, at least one, and `reason` what became of it.
   */
  mappingLost?(
    offset: number,
    length: number,
  ): Promise<{ readonly lost: boolean; readonly length: number; readonly reason?: string }>
  /** Copies inside one storage or between two of the same driver without passing memory. ENOTSUP: use buffers. */
  copyRange?(
    offset: number,
    target: OpenImage,
    targetOffset: number,
    length: number,
    signal?: AbortSignal,
  ): Promise<void>
  truncate?(size: number, options: TruncateOptions, signal?: AbortSignal): Promise<void>
  /** Called once, after the last request; errors of a delayed write come out here. */
  close?(): Promise<void>
  /** Forgets everything cached, because another process wrote. */
  invalidateCache?(): Promise<void>

  info?(): Promise<DriverInfo>
  /** Figures that only this driver has, by QAPI's names in camelCase. */
  statistics?(): Readonly<Record<string, number>>
  check?(options: CheckOptions & { readonly repair: Repair }): Promise<ImageCheck>
  amend?(request: AmendRequest): Promise<void>
  /** Moves what the image holds to the start of its file, and cuts that. Runs drained. */
  compact?(options: CompactOptions): Promise<CompactResult>
  /** Records a new backing reference; undefined filename: none. Does not touch the graph. */
  changeBacking?(filename: string | undefined, format: string | undefined): Promise<void>
  /** Forgets all guest data of this layer quickly, so that the backing file shows again. */
  makeEmpty?(): Promise<void>
  readonly snapshots?: Snapshots
  /** Dirty bitmaps that are stored in the image. */
  readonly bitmaps?: StoredBitmaps
  /** Content as it was at the point in time that a copy-before-write filter keeps; EACCES where it is given up. */
  readSnapshot?(offset: number, buf: Uint8Array, signal?: AbortSignal): Promise<void>
  snapshotStatus?(offset: number, length: number, signal?: AbortSignal): Promise<BlockStatus>
  /** The drive, where the medium can be taken out. */
  readonly medium?: RemovableMedium
  readonly vmState?: VmState
  readonly permissions?: PermissionHooks
  /** Makes ready for new options; runs drained. It must not write: a child may be waiting for its own commit. */
  reopen?(change: ReopenChange): Promise<Prepared>
  /**
   * A drained section that holds this image begins: let go of requests that are being kept back (throttled, waiting
   * for a reconnection) and start none. Called above and below the drained nodes; pairs with {@link drainEnd}.
   */
  drainBegin?(): Promise<void> | void
  drainEnd?(): void
  /** Throws when the child `name` may not be set to `child` (undefined: removed). Runs drained, before the change. */
  checkChild?(name: string, child: { readonly size: number } | undefined): void
  /** Children were added to or removed from the list `name`; runs drained. */
  childrenChanged?(name: string): void
  /**
   * What stands below may read as something else from now on: somewhere a child was replaced, or options have changed.
   * Runs drained.
   */
  contentChanged?(): void
  /**
   * Hears events addressed to this node: a parent's ({@link ChildHandle.debugEvent}) and the core's own (`pwritev` …).
   * Not passed on. Returns a promise only when it holds the caller up. A node that has it is off the fast path.
   */
  debugEvent?(event: string): Promise<void> | undefined
  /** Named operations that only this driver has (breakpoints of blkdebug, say). */
  readonly control?: { readonly [operation: string]: (...args: string[]) => Promise<unknown> | unknown }
}

/** How a driver sees one of its children: an edge of the graph, which stays while the node behind it may change. */
export interface ChildHandle {
  readonly name: string
  readonly role: ChildRole
  readonly size: number
  readonly limits: Limits
  readonly readOnly: boolean
  readonly nodeName: string
  /** The file name or `json:` name of the node behind, for messages and relative references. */
  readonly filename: string
  readonly zeroInit: boolean
  /** The flags that the image of the child honours itself, as {@link OpenImage.writeFlags}. */
  readonly writeFlags: number
  /** Bytes past the end of the child read as zeroes. */
  read(offset: number, buf: Uint8Array, flags?: number, signal?: AbortSignal): Promise<void>
  write(offset: number, buf: Uint8Array, flags?: number, signal?: AbortSignal): Promise<void>
  writeZeroes(offset: number, length: number, flags?: number, signal?: AbortSignal): Promise<void>
  discard(offset: number, length: number, signal?: AbortSignal): Promise<void>
  flush(signal?: AbortSignal): Promise<void>
  truncate(size: number, options?: TruncateOptions, signal?: AbortSignal): Promise<void>
  /**
   * What the child reads as, its backing files included; past its end: zeroes. With `bottom`, the name of one of them,
   * those below it are left out: nothing is `present` where they decide. ENOENT if there is none of that name.
   */
  chainStatus(
    offset: number,
    length: number,
    signal?: AbortSignal,
    bottom?: string,
  ): Promise<{ readonly length: number; readonly data: boolean; readonly zero: boolean; readonly present: boolean }>
  /** Status of the child's own layer; past its end: unallocated zeroes. */
  blockStatus(offset: number, length: number, signal?: AbortSignal): Promise<BlockStatus>
  /** ENOTSUP when the two ends cannot copy without memory. */
  copyRange(
    offset: number,
    target: ChildHandle,
    targetOffset: number,
    length: number,
    signal?: AbortSignal,
  ): Promise<void>
  info(): Promise<DriverInfo>
  /** As {@link OpenImage.readSnapshot} of the child. ENOTSUP where it keeps no point in time. */
  readSnapshot(offset: number, buf: Uint8Array, signal?: AbortSignal): Promise<void>
  snapshotStatus(offset: number, length: number, signal?: AbortSignal): Promise<BlockStatus>
  /** Follows the reads of the child from now on, of whomever, which are slower then. */
  followReads(): FollowedReads
  /** Tells a debugging filter below that the parent is about to do `event`. Await the promise if there is one. */
  debugEvent(event: string): Promise<void> | undefined
}

/** The reads of a node while somebody follows them. */
export interface FollowedReads {
  /** Resolves when those of the range that are in flight now have ended. */
  ended(offset: number, length: number): Promise<void>
  /** Ends it. */
  forget(): void
}

/** The children of a node by name. Live: edges come and go while the graph changes (drained). */
export interface Children {
  /** The child called `name`; undefined if the option was left out or the child was removed. */
  get(name: string): ChildHandle | undefined
  /** The child called `name`, which the schema requires. */
  require(name: string): ChildHandle
  /** The children of a list option, in order: `children.0`, `children.1` … */
  list(name: string): readonly ChildHandle[]
}

/** Something that happened: to a node, or to who uses the graph (a device, a job, an export). */
export interface BlockEvent {
  /** QAPI's name: `BLOCK_IMAGE_CORRUPTED`. */
  readonly event: string
  /** The node that raised it; left out where none did. */
  readonly nodeName?: string
  /** QAPI's fields, in camelCase. */
  readonly data: Readonly<Record<string, unknown>>
}

/** The decision of a graph about a reference found inside an image: true, or the reason why not. */
export type ReferenceVerdict = true | { readonly code: ErrorCode; readonly reason: string }
