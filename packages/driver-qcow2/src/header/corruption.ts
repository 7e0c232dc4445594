/**
 * What happens when the image's structures turn out to contradict each other. Of a writable image the corrupt bit
 * is set on disk, and every later request fails; of a read-only one the request at hand fails. Whoever listens
 * gets BLOCK_IMAGE_CORRUPTED with the fields of QAPI.
 */
import { BlockError, type ChildHandle } from '@diskgraph/core/driver'

/** Clusters may be allocated and not written yet, so references may go this far behind the end of the file. */
export const farWindow = 64 * 1024 * 1024

/** What {@link Corruption} needs of the node. */
export interface CorruptionHost {
  readonly nodeName: string
  emit(event: string, data: Readonly<Record<string, unknown>>): void
  warn(message: string): void
}

/** See the top of this file. */
export class Corruption {
  private readonly host: CorruptionHost
  private readonly file: ChildHandle
  private readonly setCorruptBit: () => Promise<void>
  private suppressed = false
  /** The image was found corrupt while writable: nothing may be done with it but closing it. */
  broken = false

  constructor(host: CorruptionHost, file: ChildHandle, setCorruptBit: () => Promise<void>) {
    this.host = host
    this.file = file
    this.setCorruptBit = setCorruptBit
  }

  /** The error of every request after {@link broken} is set. */
  unusable(): BlockError {
    return new BlockError('ENOMEDIUM', 'the image is marked as corrupt and cannot be used until it is repaired')
  }

  /** Whether a reference to what ends at `end` must be damaged: writing there would blow up the file. */
  isFar(end: number): boolean {
    return end > this.file.size + farWindow
  }

  /**
   * Reports damage and rejects with EIO. Marks the image as corrupt, if it is writable. `offset` and `length` say
   * which range of the file is concerned.
   */
  async report(message: string, offset?: number, length?: number): Promise<never> {
    const fatal = !this.file.readOnly
    if (!this.broken && (fatal || !this.suppressed)) {
      this.announce(message, fatal, offset, length)
      if (fatal) {
        this.broken = true
        await this.setCorruptBit()
      }
    }
    throw new BlockError('EIO', message)
  }

  /** Tells of damage that stops nobody: something cannot be freed. */
  note(message: string): void {
    if (!this.broken && !this.suppressed) this.announce(message, false)
  }

  private announce(message: string, fatal: boolean, offset?: number, length?: number): void {
    this.suppressed = true
    this.host.warn(
      fatal
        ? `qcow2: Marking image as corrupt: ${message}; further corruption events will be suppressed`
        : `qcow2: Image is corrupt: ${message}; further non-fatal corruption events will be suppressed`,
    )
    const data: Record<string, unknown> = { device: '', nodeName: this.host.nodeName, msg: message, fatal }
    if (offset !== undefined) data.offset = offset
    if (length !== undefined) data.size = length
    this.host.emit('BLOCK_IMAGE_CORRUPTED', data)
  }
}
