/**
 * The encryption of a format that has its own tables around it, as qcow2: LUKS, whose header stands somewhere in the image
 * and whose sectors are counted in the file, or AES with the password for a key (`aes`, as QEMU had it first), whose sectors
 * are counted in the guest.
 */
import { BlockError, type Clock, type InfoValue } from '@diskgraph/core/driver'
import type { HeaderStorage } from './key-slots.ts'
import {
  formatLuks,
  type LuksSettings,
  luksHeaderSize,
  luksInfo,
  openLuks,
  readLuks1Facts,
  readLuks1Header,
} from './luks1-volume.ts'
import type { Platform } from './platform.ts'
import { SectorCipher } from './sector-cipher.ts'
import { type SlotOptions, slotChange } from './slot-options.ts'

/** What the options of an encrypted image say, by QAPI's names in camelCase. */
export interface EncryptionOptions extends LuksSettings {
  format?: 'aes' | 'luks'
  /** Id of the secret that holds a password. */
  keySecret?: string
}

/** What it needs of the image. */
export interface EncryptionHost {
  readonly clock: Clock
  readonly signal?: AbortSignal | undefined
  /** Of LUKS: the place of its header in the image. */
  readonly storage: HeaderStorage
  /** The bytes of a secret object. */
  secret(id: string): Uint8Array
}

/** An encrypted image that is open. */
export interface ImageEncryption {
  encrypt(offset: number, host: number, data: Uint8Array): Uint8Array
  decrypt(offset: number, host: number, data: Uint8Array): void
  info(): { readonly [key: string]: InfoValue | undefined }
  /** Changes key slots. */
  amend(options: SlotOptions, force: boolean, signal?: AbortSignal): Promise<void>
}

const sector = 512
const aesKeySize = 16

/** The functions of this file on `platform`. */
export function imageEncryption(platform: Platform) {
  return {
    /** Opens it. EINVAL without a secret, EPERM with a wrong one. */
    async open(format: 'aes' | 'luks', options: EncryptionOptions, host: EncryptionHost): Promise<ImageEncryption> {
      if (options.format !== undefined && options.format !== format) {
        refuse(`Header reported '${format}' encryption format but options specify '${options.format}'`)
      }
      const password = passwordOf(options, host)
      if (format === 'aes') return aesEncryption(platform, password)
      const tools = { ...host, platform }
      const volume = await openLuks(tools, await readLuks1Header(host.storage), password)
      const { cipher } = volume
      return {
        encrypt: (_, at, data) => cipher.encrypt(at / sector, data),
        decrypt: (_, at, data) => cipher.decrypt(at / sector, data),
        info: () => luksInfo(volume.header),
        amend: (change, force, signal) =>
          volume.changeKeySlots(
            { ...tools, signal },
            slotChange(change, force, { ...host, keySecret: options.keySecret }),
          ),
      }
    },

    /** What the header tells without a password. */
    async info(storage: Pick<HeaderStorage, 'read'>) {
      return luksInfo(await readLuks1Facts(storage))
    },

    /** Bytes that `options` need for a header; 0 for `aes`. EINVAL for options that do not go together. */
    headerSize(options: EncryptionOptions): number {
      if (options.keySecret === undefined) refuse(keyMissing)
      if (options.format === 'luks') return luksHeaderSize(options)
      for (const name of Object.keys(options)) {
        if (name === 'format' || name === 'keySecret') continue
        const kebab = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
        refuse(`Parameter 'encrypt.${kebab}' is unexpected`)
      }
      return 0
    },

    /** Makes the header of a new image. */
    async format(options: EncryptionOptions, host: EncryptionHost): Promise<void> {
      const password = passwordOf(options, host)
      if (options.format === 'luks') await formatLuks({ ...host, platform }, options, password)
    },
  }
}

const keyMissing = "Parameter 'encrypt.key-secret' is required for cipher"

function passwordOf({ keySecret }: EncryptionOptions, { secret }: EncryptionHost): Uint8Array {
  return keySecret === undefined ? refuse(keyMissing) : secret(keySecret)
}

function aesEncryption(platform: Platform, password: Uint8Array): ImageEncryption {
  const key = new Uint8Array(aesKeySize)
  key.set(password.subarray(0, aesKeySize))
  const cipher = new SectorCipher(platform, { algorithm: 'aes-128', mode: 'cbc', ivGenerator: 'plain64' }, key)
  return {
    encrypt: (offset, _, data) => cipher.encrypt(offset / sector, data),
    decrypt: (offset, _, data) => cipher.decrypt(offset / sector, data),
    info: () => ({}),
    amend: () => Promise.reject(new BlockError('ENOTSUP', 'Only LUKS encryption options can be amended')),
  }
}

function refuse(message: string): never {
  throw new BlockError('EINVAL', message)
}
