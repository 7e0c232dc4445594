/** Argon2, by WebAssembly. Imported when a password needs it. */
import { BlockError } from '@diskgraph/core/driver'
import { argon2i, argon2id } from 'hash-wasm'
import type { Luks2Kdf } from './luks2-header.ts'

const mostLanes = 64

type Argon2 = Exclude<Luks2Kdf, { readonly type: 'pbkdf2' }>

/** A key of `length` bytes. EINVAL for what Argon2 has not, ENOMEM where there is not the memory. */
export async function argon2(kdf: Argon2, password: Uint8Array, length: number): Promise<Uint8Array> {
  const { type, salt, passes, memory, lanes } = kdf
  const isSound = passes >= 1 && lanes >= 1 && lanes <= mostLanes && memory >= 8 * lanes
  if (!isSound || salt.length < 8 || salt.length > 1024) {
    throw new BlockError('EINVAL', 'a key slot asks for what Argon2 has not: its header is damaged')
  }
  const derive = type === 'argon2i' ? argon2i : argon2id
  const settings = {
    password,
    salt,
    iterations: passes,
    memorySize: memory,
    parallelism: lanes,
    hashLength: length,
    outputType: 'binary',
  } as const
  return derive(settings).catch((cause) => {
    throw new BlockError('ENOMEM', `there is no room for the ${memory} KiB that Argon2 needs`, { cause })
  })
}
