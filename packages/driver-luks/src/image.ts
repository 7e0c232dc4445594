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
import {
  type KeyTools,
  type Luks1Facts,
  type Luks2Header,
  type LuksVolume,
  luks2Info,
  luksInfo,
  type SectorCipher,
  slotChange,
} from '@diskgraph/crypto'

/** What an image has of its node. */
interface ImageParts {
  readonly file: ChildHandle
  readonly tools: KeyTools
  /** Id of the secret that the volume was opened with. */
  readonly keySecret: string | undefined
  secret(id: string): Uint8Array
}

/** What can be told of a volume, of either version. */
export interface Facts {
  readonly payloadOffset: number
  /** Bytes of data; undefined: all that follows. */
  readonly size: number | undefined
  readonly sectorSize: number
  readonly info: ReturnType<typeof luksInfo>
}

/** Of version 1. */
export function factsOf(header: Luks1Facts): Facts {
  return { payloadOffset: header.payloadOffset, size: undefined, sectorSize: 512, info: luksInfo(header) }
}

/** Of version 2. */
export function factsOf2(header: Luks2Header): Facts {
  const { offset, size, sectorSize } = header.segment
  return { payloadOffset: offset, size, sectorSize, info: luks2Info(header) }
}

/** A volume that is only looked at: nobody knows its key. */
export class InspectedVolume implements OpenImage {
  readonly file: ChildHandle
  readonly #facts: Facts

  constructor(file: ChildHandle, facts: Facts) {
    this.file = file
    this.#facts = facts
  }

  get size(): number {
    return volumeSize(this.file, this.#facts)
  }

  read(): Promise<void> {
    return Promise.reject(new BlockError('EACCES', "Parameter 'key-secret' is required for cipher"))
  }

  info(): Promise<DriverInfo> {
    return volumeInfo(this.file, this.#facts)
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
  readonly #cipher: SectorCipher
  /** Of version 1: its key slots can be changed. */
  readonly #volume: LuksVolume | undefined
  readonly #payload: number
  readonly #facts: () => Facts

  constructor(parts: ImageParts, volume: LuksVolume | { readonly header: Luks2Header; readonly cipher: SectorCipher }) {
    const { file } = parts
    this.file = file
    this.#parts = parts
    this.#cipher = volume.cipher
    if ('changeKeySlots' in volume) {
      this.#volume = volume
      this.#facts = () => factsOf(volume.header)
    } else {
      const facts = factsOf2(volume.header)
      this.#facts = () => facts
    }
    this.#payload = this.#facts().payloadOffset
    const alignment = Math.max(volume.cipher.sectorSize, file.limits.alignment)
    this.limits = { alignment, maxTransfer: file.limits.maxTransfer, optimalTransfer: file.limits.optimalTransfer }
  }

  get size(): number {
    return volumeSize(this.file, this.#facts())
  }

  async read(offset: number, buf: Uint8Array, _flags: number, signal?: AbortSignal): Promise<void> {
    await this.file.read(this.#payload + offset, buf, 0, signal)
    this.#cipher.decrypt(this.#sector(offset), buf)
  }

  write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    const stored = this.#cipher.encrypt(this.#sector(offset), buf)
    return this.file.write(this.#payload + offset, stored, flags, signal)
  }

  blockStatus(_offset: number, length: number): Promise<BlockStatus> {
    return Promise.resolve({ length, data: true, zero: false, allocated: true })
  }

  truncate(size: number, options: TruncateOptions, signal?: AbortSignal): Promise<void> {
    if (this.#facts().size !== undefined) {
      return Promise.reject(
        new BlockError('ENOTSUP', 'the size of the volume stands in its header, which is not changed'),
      )
    }
    if (size > maxOffset - this.#payload) {
      return Promise.reject(new BlockError('EFBIG', 'The requested file size is too large'))
    }
    return this.file.truncate(this.#payload + size, options, signal)
  }

  info(): Promise<DriverInfo> {
    return volumeInfo(this.file, this.#facts())
  }

  async amend({ options, force = false, signal }: AmendRequest): Promise<void> {
    if (this.#volume === undefined) {
      throw new BlockError('ENOTSUP', 'key slots of LUKS2 are not changed here', { hint: 'cryptsetup does that' })
    }
    await this.#volume.changeKeySlots({ ...this.#parts.tools, signal }, slotChange(options, force, this.#parts))
  }

  #sector(offset: number): number {
    return offset / this.#cipher.sectorSize
  }
}

function volumeSize(file: ChildHandle, { payloadOffset, size, sectorSize }: Facts): number {
  const there = Math.max(file.size - payloadOffset, 0)
  return alignDown(size === undefined ? there : Math.min(size, there), sectorSize)
}

async function volumeInfo(file: ChildHandle, { info }: Facts): Promise<DriverInfo> {
  const { allocatedSize } = await file.info()
  return {
    ...(allocatedSize === undefined ? {} : { allocatedSize }),
    encrypted: true,
    specific: { type: 'luks', data: info },
  }
}
