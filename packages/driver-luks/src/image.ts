/** An open volume: the sectors behind the header, encrypted by their numbers. */
import {
  type AmendRequest,
  alignDown,
  BlockError,
  type BlockStatus,
  type ChildHandle,
  type DriverInfo,
  Flag,
  type Limits,
  maxOffset,
  type OpenImage,
  type TruncateOptions,
} from '@diskgraph/core/driver'
import { type KeyTools, type Luks1Facts, type LuksVolume, luksInfo, slotChange } from '@diskgraph/crypto'

/** What an image has of its node. */
interface ImageParts {
  readonly file: ChildHandle
  readonly tools: KeyTools
  /** Id of the secret that the volume was opened with. */
  readonly keySecret: string | undefined
  secret(id: string): Uint8Array
}

/** A volume that is only looked at: nobody knows its key. */
export class InspectedVolume implements OpenImage {
  readonly file: ChildHandle
  readonly #header: Luks1Facts

  constructor(file: ChildHandle, header: Luks1Facts) {
    this.file = file
    this.#header = header
  }

  get size(): number {
    return volumeSize(this.file, this.#header)
  }

  read(): Promise<void> {
    return Promise.reject(new BlockError('EACCES', "Parameter 'key-secret' is required for cipher"))
  }

  info(): Promise<DriverInfo> {
    return volumeInfo(this.file, this.#header)
  }
}

/** See the top of this file. */
export class LuksImage implements OpenImage {
  readonly writeFlags = Flag.Fua | Flag.Unchanged
  /** What is behind the old end of the file is decrypted noise. */
  readonly zeroInit = false
  readonly limits: Partial<Limits>
  readonly file: ChildHandle
  readonly #parts: ImageParts
  readonly #volume: LuksVolume
  readonly #payload: number

  constructor(parts: ImageParts, volume: LuksVolume) {
    const { file } = parts
    this.file = file
    this.#parts = parts
    this.#volume = volume
    this.#payload = volume.header.payloadOffset
    const alignment = Math.max(volume.cipher.sectorSize, file.limits.alignment)
    this.limits = { alignment, maxTransfer: file.limits.maxTransfer, optimalTransfer: file.limits.optimalTransfer }
  }

  get size(): number {
    return volumeSize(this.file, this.#volume.header)
  }

  async read(offset: number, buf: Uint8Array, _flags: number, signal?: AbortSignal): Promise<void> {
    await this.file.read(this.#payload + offset, buf, 0, signal)
    this.#volume.cipher.decrypt(this.#sector(offset), buf)
  }

  write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    const stored = this.#volume.cipher.encrypt(this.#sector(offset), buf)
    return this.file.write(this.#payload + offset, stored, flags, signal)
  }

  blockStatus(_offset: number, length: number): Promise<BlockStatus> {
    return Promise.resolve({ length, data: true, zero: false, allocated: true })
  }

  truncate(size: number, options: TruncateOptions, signal?: AbortSignal): Promise<void> {
    if (size > maxOffset - this.#payload) {
      return Promise.reject(new BlockError('EFBIG', 'The requested file size is too large'))
    }
    return this.file.truncate(this.#payload + size, options, signal)
  }

  info(): Promise<DriverInfo> {
    return volumeInfo(this.file, this.#volume.header)
  }

  async amend({ options, force = false, signal }: AmendRequest): Promise<void> {
    await this.#volume.changeKeySlots({ ...this.#parts.tools, signal }, slotChange(options, force, this.#parts))
  }

  #sector(offset: number): number {
    return offset / this.#volume.cipher.sectorSize
  }
}

function volumeSize(file: ChildHandle, { payloadOffset }: Luks1Facts): number {
  return alignDown(Math.max(file.size - payloadOffset, 0), 512)
}

async function volumeInfo(file: ChildHandle, header: Luks1Facts): Promise<DriverInfo> {
  const { allocatedSize } = await file.info()
  return {
    ...(allocatedSize === undefined ? {} : { allocatedSize }),
    encrypted: true,
    specific: { type: 'luks', data: luksInfo(header) },
  }
}
