/** The key of a LUKS1 volume and its slots: unlocked with a password, stored with one, erased. */
import { BlockError, type Clock } from '@diskgraph/core/driver'
import { mergeKey, splitKey } from './anti-forensic.ts'
import { keySizeOf } from './cipher-spec.ts'
import { checkIterations, IterationBudget, iterationsFor } from './iterations.ts'
import { type KeySlot, keyDigestSize, type Luks1Header, materialSize, stripes } from './luks1-header.ts'
import type { Platform } from './platform.ts'
import { SectorCipher } from './sector-cipher.ts'

/** Where a header and its key material stand. Offsets are bytes from the start of the header. */
export interface HeaderStorage {
  read(offset: number, buf: Uint8Array): Promise<void>
  write(offset: number, data: Uint8Array): Promise<void>
  flush(): Promise<void>
}

/** What the functions of this file work with. */
export interface KeyTools {
  readonly platform: Platform
  readonly clock: Clock
  readonly storage: HeaderStorage
  readonly signal?: AbortSignal | undefined
}

/** The key, from the first active slot that `password` opens. EPERM if there is none. */
export async function unlock(tools: KeyTools, header: Luks1Header, password: Uint8Array): Promise<Uint8Array> {
  let tooLong: unknown
  const budget = new IterationBudget()
  for (const slot of header.slots) {
    try {
      if (slot.active) budget.take(iterationsOf(header, slot))
      const key = await keyIn(tools, header, slot, password)
      if (key !== undefined) return key
    } catch (error) {
      // Another slot may be open to it.
      if (!(error instanceof BlockError) || error.code !== 'EINVAL') throw error
      tooLong = error
    }
  }
  throw tooLong ?? new BlockError('EPERM', 'Invalid password, cannot unlock any keyslot')
}

/** The key in `slot`; undefined where it is inactive or `password` does not open it. */
export async function keyIn(
  tools: KeyTools,
  header: Luks1Header,
  slot: KeySlot,
  password: Uint8Array,
): Promise<Uint8Array | undefined> {
  if (!slot.active) return undefined
  tools.signal?.throwIfAborted()
  const { platform, storage } = tools
  const { cipher, hash } = header
  const size = keySizeOf(cipher)
  iterationsOf(header, slot)
  const derived = await platform.pbkdf2(hash, password, slot.salt, slot.iterations, size)
  const material = new Uint8Array(materialSize(size))
  await storage.read(slot.materialOffset, material)
  new SectorCipher(platform, cipher, derived).decrypt(0, material)
  const key = mergeKey(platform, hash, material.subarray(0, size * stripes), size)
  derived.fill(0)
  material.fill(0)
  return isSame(await digestOf(platform, header, key), header.digest) ? key : undefined
}

/** What trying a slot takes. EINVAL where it is too much. */
function iterationsOf({ digestIterations }: Luks1Header, { iterations }: KeySlot): number {
  checkIterations(iterations)
  checkIterations(digestIterations)
  return iterations + digestIterations
}

/** The digest by which a key is known to be the right one. */
export function digestOf(
  platform: Platform,
  { hash, digestSalt, digestIterations }: Pick<Luks1Header, 'hash' | 'digestSalt' | 'digestIterations'>,
  key: Uint8Array,
): Promise<Uint8Array> {
  return platform.pbkdf2(hash, key, digestSalt, digestIterations, keyDigestSize)
}

/**
 * Writes the material of `key` for `password` into the place of `slot`; the result is the slot as the header is to have it
 * then. `milliseconds` is the time that trying a password is to take.
 */
export async function storeKey(
  tools: KeyTools,
  header: Pick<Luks1Header, 'cipher' | 'hash'>,
  slot: KeySlot,
  { key, password, milliseconds }: { key: Uint8Array; password: Uint8Array; milliseconds: number },
): Promise<KeySlot> {
  const { platform, clock, storage } = tools
  const { cipher, hash } = header
  const size = keySizeOf(cipher)
  const { key: iterations } = await iterationsFor(platform, clock, hash, size, milliseconds)
  const salt = platform.randomBytes(slot.salt.length)
  const derived = await platform.pbkdf2(hash, password, salt, iterations, size)
  const material = new Uint8Array(materialSize(size))
  material.set(splitKey(platform, hash, key, stripes))
  await storage.write(slot.materialOffset, new SectorCipher(platform, cipher, derived).encrypt(0, material))
  derived.fill(0)
  material.fill(0)
  return { active: true, iterations, salt, materialOffset: slot.materialOffset }
}

/** Writes noise over the key material of `slot`. */
export function wipeKey({ platform, storage }: KeyTools, header: Luks1Header, slot: KeySlot): Promise<void> {
  return storage.write(slot.materialOffset, platform.randomBytes(materialSize(keySizeOf(header.cipher))))
}

function isSame(one: Uint8Array, other: Uint8Array): boolean {
  let difference = one.length ^ other.length
  for (let i = 0; i < one.length; i++) difference |= one[i]! ^ other[i]!
  return difference === 0
}
