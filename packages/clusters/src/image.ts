/**
 * What reading and writing need of an image whose guest clusters stand anywhere in a file, or nowhere. A format maps and
 * allocates; the functions of this folder move the data, and know no format.
 */
import type { BlockError, ChildHandle } from '@diskgraph/core/driver'
import type { TaskPool, Yielder } from './concurrency.ts'
import type { Allocation, InFlight } from './in-flight.ts'

/** What a guest cluster is. */
export const Kind = {
  /** The table that says it is not in memory. */
  missing: -1,
  /** An entry contradicts the format. */
  damaged: -2,
  /** The backing file decides. */
  unallocated: 0,
  /** Reads as zeroes, without a host cluster. */
  zero: 1,
  /** Reads as zeroes, and has a host cluster for later. */
  zeroAllocated: 2,
  normal: 3,
  compressed: 4,
} as const

/** A run of the disk that is all of one kind and contiguous in the file. Filled in by {@link DataMap.peek}. */
export interface Run {
  /** One of {@link Kind}. */
  kind: number
  /** Bytes from the asked offset on; 0 when missing or damaged. */
  length: number
  /** Host offset of the first byte asked for (normal, zeroAllocated). */
  host: number
  /**
   * The clusters are used by nobody else: they may be written in place. Of an unallocated run: there is room for it at
   * `host`, in a cluster that is mapped in part.
   */
  copied: boolean
  /** Where in the file stands what has to be read first (missing). */
  table: number
}

/** A fresh, empty run. */
export function newRun(): Run {
  return { kind: Kind.missing, length: 0, host: 0, copied: false, table: 0 }
}

/** From guest offsets to host clusters. */
export interface DataMap {
  /** Looks up what stands at `offset`, for `length` bytes at most, if the tables are in memory. */
  peek(offset: number, length: number, run: Run): void
  /** The same, reading tables as needed. Rejects where the mapping is damaged. */
  find(offset: number, length: number, run: Run): Promise<void>
  /** The guest offset, from `offset` on, from which something may be mapped; infinite where nothing is. */
  next(offset: number): number
  /**
   * How many bytes from `offset` on, `length` at most, stand in a row in clusters that nobody else uses, of which some
   * read as zeroes: they may be written as one, and mapped then. 0 when it is none, or the tables are not in memory.
   */
  peekReusable(offset: number, length: number): number
}

/** Clusters that were taken for a part of a write. */
export interface NewClusters {
  readonly allocation: Allocation
  /** Guest range to write: not aligned to clusters. */
  readonly offset: number
  readonly length: number
  readonly host: number
  readonly clusters: number
  /** They were reserved before, behind the zero flag or as data: they need not be freed on failure. */
  readonly reused: boolean
  /**
   * The guest range around the request that has to be written whole, where that is less than the clusters: formats may
   * map parts of them, and the last one may end with the disk.
   */
  readonly start?: number
  readonly end?: number
}

/** Host clusters for guest data. */
export interface Allocations {
  /**
   * Takes clusters for the start of a guest range, and enters them in `inFlight`. Undefined when the situation has
   * changed meanwhile: look again.
   */
  begin(offset: number, length: number): Promise<NewClusters | undefined>
  /** Maps clusters, whose data has been written; all or nothing. */
  link(taken: NewClusters): Promise<void>
  /** Frees clusters that were taken and cannot be linked. */
  giveBack(taken: NewClusters): Promise<void>
}

/** How clusters are made zero. */
export interface ZeroSettings {
  /** Their host clusters may be freed. */
  readonly mayUnmap: boolean
  /** Those that hold data are left alone. */
  readonly onlyEmpty: boolean
}

/** Changes of the mapping that need no data. */
export interface ClusterChanges {
  /** Whether the format can say that a cluster is zero. */
  readonly canZero: boolean
  /** Whether discarded clusters become unallocated, so that they read as zeroes where there is no backing file. */
  readonly canFree: boolean
  /** Makes a range of whole units zero; false when a part of it that holds data was left alone. */
  zero(start: number, end: number, settings: ZeroSettings, signal: AbortSignal | undefined): Promise<boolean>
  /** Frees the whole clusters of a range. */
  discard(offset: number, length: number, signal: AbortSignal | undefined): Promise<void>
}

/** Compressed clusters. */
export interface CompressedData {
  /**
   * Starts reading the compressed clusters from `offset` on into the start of `buf`, as requests of `pool`; returns
   * how many bytes they cover. The table that maps them is in memory.
   */
  read(offset: number, buf: Uint8Array, pool: TaskPool, signal: AbortSignal | undefined): number
}

/** What the functions of this folder need of a backing file. */
export type BackingFile = Pick<ChildHandle, 'size' | 'read' | 'chainStatus'>

/** Encrypts what stands at a guest offset and a host offset; both are multiples of 512, and so are lengths. */
export interface DataCipher {
  /** New bytes. */
  encrypt(offset: number, host: number, data: Uint8Array): Uint8Array
  /** In place. */
  decrypt(offset: number, host: number, data: Uint8Array): void
}

/** See the top of this file. */
export interface DataImage {
  readonly file: ChildHandle
  /** Where guest data stands; left out: in `file`. */
  readonly dataFile?: ChildHandle | undefined
  /** Left out: guest data stands in clear. */
  readonly cipher?: DataCipher | undefined
  /** `zeroUnit`: bytes that the mapping can tell to be zero, where that is less than a cluster. */
  readonly geometry: { readonly clusterSize: number; readonly zeroUnit?: number }
  /** Bytes of the disk. */
  readonly size: number
  readonly readOnly: boolean
  readonly map: DataMap
  readonly allocations: Allocations
  readonly changes: ClusterChanges
  readonly compressed: CompressedData
  readonly inFlight: InFlight
  /** Whoever frees clusters waits for requests that are tracked here. */
  readonly frees: { track(request: Promise<void>): Promise<void> }
  readonly corruption: { readonly broken: boolean; unusable(): BlockError }
  /** For lookups that are used before the next `await`. */
  readonly run: Run
  /** Of questions for the status, many of which follow each other when a disk is mapped. */
  readonly statusYielder: Yielder
  /** The backing file, asked for at every use: edges of the graph come and go. */
  backing(): BackingFile | undefined
  /** Whether the image names a backing file, which may grow, even if none is open. */
  readonly namesBacking: boolean
  /** Whether only the metadata was preallocated, so that clusters which are mapped may be holes. */
  isPreallocated(signal: AbortSignal | undefined): Promise<boolean>
  /** Throws when the image was found corrupt. */
  checkUsable(): void
  /** Undefined when data may be written to this range of the file; else a promise that rejects. */
  guardWrite(offset: number, length: number): Promise<void> | undefined
  /** The same for clusters that are mapped at guest offset `offset`; the promise may resolve when it is known. */
  guardInPlace(offset: number, host: number, length: number): Promise<void> | undefined
}
