/** A LUKS1 volume whose key is known: made, opened, and changed in its key slots. */
import { BlockError, type InfoValue } from '@diskgraph/core/driver'
import { type CipherSpec, cipherModes, essivCipher, ivGenerators, keySizeOf } from './cipher-spec.ts'
import { iterationsFor } from './iterations.ts'
import { digestOf, type HeaderStorage, type KeyTools, keyIn, storeKey, unlock, wipeKey } from './key-slots.ts'
import {
  emptySlots,
  inactiveSlot,
  type KeySlot,
  keyDigestSize,
  keySlotCount,
  type Luks1Facts,
  type Luks1Header,
  luks1HeaderSize,
  newPayloadOffset,
  parseLuks1Facts,
  parseLuks1Header,
  serializeLuks1Header,
  stripes,
} from './luks1-header.ts'
import { type CipherAlgorithm, cipherKeySizes, digestSizes, type HashAlgorithm, type Platform } from './platform.ts'
import { SectorCipher } from './sector-cipher.ts'

/** How a new volume is encrypted, with QEMU's names and defaults. */
export interface LuksSettings {
  /** Default `aes-256`. */
  cipherAlg?: CipherAlgorithm
  /** Default `xts`. */
  cipherMode?: CipherSpec['mode']
  /** Default `plain64`. */
  ivgenAlg?: CipherSpec['ivGenerator']
  /** Of `essiv`. Default `sha256`. */
  ivgenHashAlg?: HashAlgorithm
  /** Default `sha256`. */
  hashAlg?: HashAlgorithm
  /** Milliseconds that trying a password takes. Default 2000. */
  iterTime?: number
}

/** A change of key slots; see QAPI's QCryptoBlockAmendOptionsLUKS. Passwords are bytes here. */
export interface KeySlotChange {
  readonly state: 'active' | 'inactive'
  readonly newPassword?: Uint8Array | undefined
  readonly oldPassword?: Uint8Array | undefined
  /** What is to be open to whoever adds a password. Default: the key is known, so nothing. */
  readonly knownPassword?: Uint8Array | undefined
  readonly keyslot?: number | undefined
  readonly iterTime?: number | undefined
  /** Also what loses the key, or the password of a slot. */
  readonly force: boolean
}

const defaultIterTime = 2000

/** The cipher of a new volume. EINVAL for what does not go together. */
function cipherOf(settings: LuksSettings): CipherSpec {
  const { cipherAlg: algorithm = 'aes-256', cipherMode: mode = 'xts', ivgenAlg: ivGenerator = 'plain64' } = settings
  if (ivGenerator !== 'essiv') return { algorithm, mode, ivGenerator }
  const { ivgenHashAlg: ivHash = 'sha256' } = settings
  essivCipher(ivHash)
  return { algorithm, mode, ivGenerator, ivHash }
}

/** The values that options of new volumes have. */
export const luksChoices = {
  cipherAlg: Object.keys(cipherKeySizes) as CipherAlgorithm[],
  cipherMode: [...cipherModes],
  ivgenAlg: [...ivGenerators],
  hashAlg: Object.keys(digestSizes) as HashAlgorithm[],
}

/** Bytes that header and key material of a new volume take. */
export function luksHeaderSize(settings: LuksSettings): number {
  return newPayloadOffset(cipherOf(settings))
}

/** Writes header and key material of a new volume, with a new key that `password` opens in slot 0. */
export async function formatLuks(tools: KeyTools, settings: LuksSettings, password: Uint8Array): Promise<LuksVolume> {
  const { platform, clock, storage } = tools
  const cipher = cipherOf(settings)
  const { hashAlg: hash = 'sha256', iterTime = defaultIterTime } = settings
  checkIterTime(iterTime)
  const key = platform.randomBytes(keySizeOf(cipher)).slice()
  const { digest: digestIterations } = await iterationsFor(platform, clock, hash, keyDigestSize, iterTime)
  const digestSalt = platform.randomBytes(32).slice()
  const digest = await digestOf(platform, { hash, digestSalt, digestIterations }, key)
  const [first, ...others] = emptySlots(cipher) as [KeySlot, ...KeySlot[]]
  const slot = await storeKey(tools, { cipher, hash }, first, { key, password, milliseconds: iterTime })
  const header: Luks1Header = {
    cipher,
    hash,
    payloadOffset: newPayloadOffset(cipher),
    digest,
    digestSalt,
    digestIterations,
    uuid: newUuid(platform),
    slots: [slot, ...others],
  }
  await storage.write(0, serializeLuks1Header(header))
  return new LuksVolume(platform, header, key)
}

/** Reads and checks the header. ENOTSUP for a cipher or a hash that is not known. */
export async function readLuks1Header(storage: Pick<HeaderStorage, 'read'>): Promise<Luks1Header> {
  return parseLuks1Header(await readHeader(storage))
}

/** Reads and checks the header to tell of it: of any cipher and hash. */
export async function readLuks1Facts(storage: Pick<HeaderStorage, 'read'>): Promise<Luks1Facts> {
  return parseLuks1Facts(await readHeader(storage))
}

async function readHeader(storage: Pick<HeaderStorage, 'read'>): Promise<Uint8Array> {
  const bytes = new Uint8Array(luks1HeaderSize)
  await storage.read(0, bytes)
  return bytes
}

/** Opens a volume. EPERM when `password` opens none of its slots. */
export async function openLuks(tools: KeyTools, header: Luks1Header, password: Uint8Array): Promise<LuksVolume> {
  return new LuksVolume(tools.platform, header, await unlock(tools, header, password))
}

/** What `info` tells of a volume, with the keys of QAPI's QCryptoBlockInfoLUKS. */
export function luksInfo(header: Luks1Facts): { readonly [key: string]: InfoValue | undefined } {
  const { cipher } = header
  return {
    ivgenAlg: cipher.ivGenerator,
    ...(cipher.ivHash === undefined ? {} : { ivgenHashAlg: cipher.ivHash }),
    hashAlg: header.hash,
    cipherAlg: cipher.algorithm,
    uuid: header.uuid,
    cipherMode: cipher.mode,
    slots: header.slots.map(({ active, iterations, materialOffset }) => ({
      active,
      ...(active ? { iters: iterations } : {}),
      keyOffset: materialOffset,
      ...(active ? { stripes } : {}),
    })),
    payloadOffset: header.payloadOffset,
    masterKeyIters: header.digestIterations,
  }
}

/** See the top of this file. */
export class LuksVolume {
  readonly cipher: SectorCipher
  readonly #key: Uint8Array
  #header: Luks1Header

  constructor(platform: Platform, header: Luks1Header, key: Uint8Array) {
    this.#header = header
    this.#key = key
    this.cipher = new SectorCipher(platform, header.cipher, key)
  }

  get header(): Luks1Header {
    return this.#header
  }

  /** Adds or erases passwords. EINVAL, with QEMU's texts, for what cannot be, or loses the key and is not forced. */
  async changeKeySlots(tools: KeyTools, change: KeySlotChange): Promise<void> {
    const { keyslot } = change
    if (keyslot !== undefined && !(keyslot >= 0 && keyslot < keySlotCount)) {
      refuse(`Invalid keyslot ${keyslot} specified, must be between 0 and ${keySlotCount - 1}`)
    }
    if (change.state === 'active') await this.#addPassword(tools, change)
    else await this.#erase(tools, change)
  }

  async #addPassword(tools: KeyTools, change: KeySlotChange): Promise<void> {
    const { newPassword, keyslot, iterTime = defaultIterTime, force } = change
    if (newPassword === undefined) return refuse("'new-secret' is required to activate a keyslot")
    if (change.oldPassword !== undefined) refuse("'old-secret' must not be given when activating keyslots")
    checkIterTime(iterTime)
    const { slots } = this.#header
    if (keyslot !== undefined && slots[keyslot]?.active && !force) {
      refuse(`Refusing to overwrite active keyslot ${keyslot} - please erase it first`)
    }
    const index = keyslot ?? slots.findIndex(({ active }) => !active)
    if (index < 0) refuse("Can't add a keyslot - all keyslots are in use")
    if (change.knownPassword !== undefined) await unlock(tools, this.#header, change.knownPassword)
    const settings = { key: this.#key, password: newPassword, milliseconds: iterTime }
    const slot = await storeKey(tools, this.#header, slots[index]!, settings)
    await tools.storage.flush()
    await this.#setSlot(tools, index, slot)
  }

  async #erase(tools: KeyTools, change: KeySlotChange): Promise<void> {
    const { oldPassword, keyslot, force } = change
    if (change.newPassword !== undefined) refuse("'new-secret' must not be given when erasing keyslots")
    if (change.iterTime !== undefined) refuse("'iter-time' must not be given when erasing keyslots")
    for (const index of await this.#slotsToErase(tools, oldPassword, keyslot, force)) {
      const slot = this.#header.slots[index]!
      await wipeKey(tools, this.#header, slot)
      await tools.storage.flush()
      await this.#setSlot(tools, index, inactiveSlot(slot.materialOffset))
    }
  }

  async #slotsToErase(
    tools: KeyTools,
    oldPassword: Uint8Array | undefined,
    keyslot: number | undefined,
    force: boolean,
  ): Promise<readonly number[]> {
    const { slots } = this.#header
    const active = slots.flatMap((slot, i) => (slot.active ? [i] : []))
    const lost = 'will erase all the data in the image irreversibly - refusing operation'
    if (keyslot !== undefined) {
      const slot = slots[keyslot]!
      if (oldPassword !== undefined && (await keyIn(tools, this.#header, slot, oldPassword)) === undefined) {
        refuse(`Given (old) password doesn't unlock keyslot ${keyslot}`)
      }
      if (!force && !slot.active) refuse(`Given keyslot ${keyslot} is already erased (inactive) `)
      if (!force && active.length === 1) {
        refuse(`Attempt to erase the only active keyslot ${keyslot} which ${lost}`)
      }
      return [keyslot]
    }
    if (oldPassword === undefined) {
      return refuse(
        'To erase keyslot(s), either explicit keyslot index or the password currently contained in them must be given',
      )
    }
    const found: number[] = []
    for (const index of active) {
      if ((await keyIn(tools, this.#header, slots[index]!, oldPassword)) !== undefined) found.push(index)
    }
    if (found.length === 0) refuse('No keyslots match given (old) password for erase operation')
    if (!force && found.length === active.length) {
      refuse(`All the active keyslots match the (old) password that was given and erasing them ${lost}`)
    }
    return found
  }

  async #setSlot(tools: KeyTools, index: number, slot: KeySlot): Promise<void> {
    const header = { ...this.#header, slots: this.#header.slots.with(index, slot) }
    await tools.storage.write(0, serializeLuks1Header(header))
    await tools.storage.flush()
    this.#header = header
  }
}

function checkIterTime(iterTime: number): void {
  if (iterTime > 2 ** 32) refuse(`iter-time ${iterTime} is more than anybody waits`)
}

/** A random UUID (RFC 9562, version 4). */
function newUuid(platform: Platform): string {
  const bytes = platform.randomBytes(16).slice()
  bytes[6] = (bytes[6]! & 0x0f) | 0x40
  bytes[8] = (bytes[8]! & 0x3f) | 0x80
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}

function refuse(message: string): never {
  throw new BlockError('EINVAL', message)
}
