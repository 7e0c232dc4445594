/** Disks for v86, the PC emulator that runs in browsers and in Node. */
import type { Disk } from '@diskgraph/core'
import { BlockError, toBlockError } from '@diskgraph/core/driver'

/**
 * A disk as v86 takes one: `hda`, `hdb` or `cdrom` of its options. The disk stays the caller's, who closes it when the
 * emulator is destroyed.
 */
export class V86Disk {
  /** In bytes. */
  readonly byteLength: number
  /** Set by the emulator, which waits for it. */
  onload: ((loaded: object) => void) | undefined
  readonly #disk: Disk
  readonly #onError: (error: BlockError) => void
  #firstSector: Uint8Array = new Uint8Array(0)

  /**
   * `onError` hears of each request that failed. The emulator cannot hear of it: its guest is left without an answer,
   * rather than with a wrong one, and gives up after its own time.
   */
  constructor(disk: Disk, onError: (error: BlockError) => void) {
    this.#disk = disk
    this.#onError = onError
    this.byteLength = disk.size
  }

  /** Begins; `onload` follows. The emulator looks for a table of partitions without waiting. */
  load(): void {
    this.get(0, Math.min(512, this.byteLength), (bytes) => {
      this.#firstSector = bytes
      this.onload?.({})
    })
  }

  /** Reads; `take` gets bytes of its own. */
  get(offset: number, length: number, take: (bytes: Uint8Array) => void): void {
    const bytes = new Uint8Array(length)
    this.#disk.read(offset, bytes).then(
      () => take(bytes),
      (error) => this.#onError(toBlockError(error)),
    )
  }

  get_and_cache(offset: number, length: number, take: (bytes: Uint8Array) => void): void {
    this.get(offset, length, take)
  }

  /** What is at hand without waiting: the sector that was read first. */
  get_from_cache(offset: number, length: number): Uint8Array | undefined {
    return offset + length <= this.#firstSector.length ? this.#firstSector.slice(offset, offset + length) : undefined
  }

  /** Writes; `bytes` stay as they are until `written` is called. */
  set(offset: number, bytes: Uint8Array, written: () => void): void {
    this.#disk.write(offset, bytes).then(written, (error) => this.#onError(toBlockError(error)))
  }

  /** The whole disk as one buffer is not to be had. */
  get_buffer(take: (buffer?: ArrayBuffer) => void): void {
    take()
  }

  /** What a saved state of the emulator holds of the disk: not its content, which stays where it is. */
  get_state(): number[] {
    return [this.byteLength]
  }

  /** Goes on with a saved state. The disk has to be as it was then, by a snapshot of its own. */
  set_state([byteLength]: number[]): void {
    if (byteLength === this.byteLength) return
    throw new BlockError('EINVAL', `the saved state has a disk of ${byteLength} bytes, this one has ${this.byteLength}`)
  }
}
