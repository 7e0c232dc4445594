/** A LUKS2 volume whose key is known. Its header is never changed here. */
import { BlockError, type InfoValue, throwIfAborted } from '@diskgraph/core/driver'
import { mergeKey } from './anti-forensic.ts'
import { Argon2Budget, argon2 } from './argon2.ts'
import { keySizeOf, modeText } from './cipher-spec.ts'
import { checkIterations, IterationBudget } from './iterations.ts'
import type { KeyTools } from './key-slots.ts'
import { materialSize, stripes } from './luks1-header.ts'
import type { Luks2Header, Luks2Slot } from './luks2-header.ts'
import { SectorCipher } from './sector-cipher.ts'

/** The cipher of the data, whose sectors are numbered from 0. EPERM when `password` opens no slot. */
export async function openLuks2(tools: KeyTools, header: Luks2Header, password: Uint8Array): Promise<SectorCipher> {
  const { cipher, sectorSize, firstSector } = header.segment
  const key = await unlock(tools, header, password)
  const sectors = new SectorCipher(tools.platform, cipher, key, sectorSize, { unit: 512, first: firstSector })
  key.fill(0)
  return sectors
}

async function unlock(tools: KeyTools, header: Luks2Header, password: Uint8Array): Promise<Uint8Array> {
  const budget = { pbkdf2: new IterationBudget(), argon2: new Argon2Budget() }
  let refused: unknown
  for (const slot of header.slots) {
    throwIfAborted(tools.signal)
    try {
      const key = await keyIn(tools, header, slot, password, budget)
      if (key !== undefined) return key
    } catch (error) {
      // Another slot may be open to it.
      if (!(error instanceof BlockError) || error.code !== 'EINVAL') throw error
      refused = error
    }
  }
  throw refused ?? new BlockError('EPERM', 'Invalid password, cannot unlock any keyslot')
}

async function keyIn(
  { platform, storage }: KeyTools,
  { digest }: Luks2Header,
  slot: Luks2Slot,
  password: Uint8Array,
  budget: { readonly pbkdf2: IterationBudget; readonly argon2: Argon2Budget },
): Promise<Uint8Array | undefined> {
  const { kdf, cipher, keySize, hash } = slot
  checkIterations(digest.iterations)
  budget.pbkdf2.take(digest.iterations)
  const size = keySizeOf(cipher)
  let derived: Uint8Array
  if (kdf.type === 'pbkdf2') {
    checkIterations(kdf.iterations)
    budget.pbkdf2.take(kdf.iterations)
    derived = await platform.pbkdf2(kdf.hash, password, kdf.salt, kdf.iterations, size)
  } else {
    budget.argon2.take(kdf)
    derived = await argon2(kdf, password, size)
  }
  const material = new Uint8Array(materialSize(keySize))
  await storage.read(slot.offset, material)
  new SectorCipher(platform, cipher, derived).decrypt(0, material)
  const key = mergeKey(platform, hash, material.subarray(0, keySize * stripes), keySize)
  derived.fill(0)
  material.fill(0)
  const found = await platform.pbkdf2(digest.hash, key, digest.salt, digest.iterations, digest.value.length)
  return digest.value.length > 0 && found.every((byte, i) => byte === digest.value[i]) ? key : undefined
}

/** What `info` tells of a volume. */
export function luks2Info({ uuid, segment, slots }: Luks2Header): { readonly [key: string]: InfoValue | undefined } {
  return {
    version: 2,
    uuid,
    cipherAlg: segment.cipher.algorithm,
    cipherMode: modeText(segment.cipher),
    sectorSize: segment.sectorSize,
    payloadOffset: segment.offset,
    slots: slots.map(({ id, kdf }) => ({ id, kdf: kdf.type })),
  }
}
