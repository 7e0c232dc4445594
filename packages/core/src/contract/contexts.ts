/** What a driver gets to open an image, and to make a new one. */
import type { Clock, RandomSource } from '../clock.ts'
import type { DirtyBitmap } from '../dirty-bitmap.ts'
import type { CacheOptions, ChildHandle, Children } from './contract.ts'
import type { DriverInfo } from './image-operations.ts'

/** A reference to another file that stands inside an image. */
export interface ImageReference {
  readonly filename: string
  /** Recorded format; without one the file would have to be probed. */
  readonly format?: string
  /** It is a part of the image, without which there is nothing to tell of it: also opened to be looked at only. */
  readonly part?: boolean
}

/** What a driver gets to open an image. Children that the options name are open already. */
export interface OpenContext<Options = Readonly<Record<string, unknown>>> {
  /** Validated options with defaults, camelCase, children left out. */
  readonly options: Options
  readonly nodeName: string
  readonly readOnly: boolean
  /** The caller accepts a read-only image where writing is not permitted: set {@link becomeReadOnly}. */
  readonly autoReadOnly: boolean
  readonly cache: CacheOptions
  /** Whether discards reach the storage. */
  readonly discard: 'ignore' | 'unmap'
  /** Opened only to look at (`info`): references are not followed, nothing is written. */
  readonly inspect: boolean
  /** Opened to be read by nobody, so that secrets are not needed; so is what is inspected. */
  readonly keyless?: boolean
  /** Opened to be checked: damage that a check can repair does not fail the open. */
  readonly check: boolean
  readonly children: Children
  /**
   * Set for a file that an image refers to: it must lie in this directory after symbolic links are resolved,
   * and be a regular file.
   */
  readonly contain: string | undefined
  readonly signal: AbortSignal | undefined
  /** Time and chance: a driver asks nothing else for them. */
  readonly clock: Clock
  readonly random: RandomSource
  /**
   * Opens what the image refers to, as the child `name` (`backing`, `extents.3`), if the graph's gate and the node's
   * options allow it: backing files by any name that the gate lets pass, others by the protocol of the image itself.
   */
  reference(name: string, reference: ImageReference): Promise<ChildHandle | undefined>
  /** Makes the node read-only after all (needs `autoReadOnly`, or EROFS is thrown). */
  becomeReadOnly(reason: string): void
  /** The bytes of a secret object that an option names. EINVAL if there is none. */
  secret(id: string): Uint8Array
  /** An object that the program added to the graph (`throttle-group`, `tls-creds`). EINVAL if there is none of that type. */
  object(type: string, id: string): unknown
  /** The dirty bitmap `name` of the node called `node`. ENODEV, or ENOENT, if there is none. */
  bitmap(node: string, name: string): DirtyBitmap
  /**
   * Runs work that no request asked for (a copy, a repair): a drained section waits for it, and while one runs it
   * waits itself. Not for work that a request waits for.
   */
  inBackground<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T>
  /** Raises an event of this node, e.g. `BLOCK_IMAGE_CORRUPTED`. */
  emit(event: string, data: Readonly<Record<string, unknown>>): void
  /** Tells the person who runs this something, once. */
  warn(message: string): void
}

/** What a driver gets to make a new image. */
export interface CreateContext<Options = Readonly<Record<string, unknown>>> {
  /** Validated create options with defaults, camelCase, children left out. */
  readonly options: Options
  /** Open read-write, resizable. */
  readonly children: Children
  readonly signal: AbortSignal | undefined
  readonly clock: Clock
  readonly random: RandomSource
  /** The bytes of a secret object that an option names. EINVAL if there is none. */
  secret(id: string): Uint8Array
  /**
   * Makes one more file of the image, beside its `file` and by the same protocol, and opens it read-write and
   * resizable. `name` is a plain file name. It is removed again if the creation fails.
   */
  createFile(name: string): Promise<ChildHandle>
  /** What an image that the new one refers to tells of itself; opened to be looked at, whatever it is used by. */
  describe(reference: ImageReference): Promise<DriverInfo>
  warn(message: string): void
}
