/** Argon2, by WebAssembly that is loaded when a password needs it. Nothing can stop a derivation, so its size has a bound. */
import { BlockError } from '@diskgraph/core/driver'
import type { Luks2Kdf } from './luks2-header.ts'

/** KiB, cryptsetup's own limit unless somebody asks for more. */
const mostMemory = 2 ** 20
/** KiB that are gone through, in all passes: a minute's work. */
const mostWork = 32 * mostMemory
const mostLanes = 64

type Argon2 = Exclude<Luks2Kdf, { readonly type: 'pbkdf2' }>

/** What the slots of one volume may take together. */
export class Argon2Budget {
  #left = mostWork

  /** Throws EINVAL for a slot that would take more memory, or longer, than anybody has. */
  take({ passes, memory }: Argon2): void {
    const work = passes * memory
    if (memory > mostMemory || work > this.#left) {
      const bound = `at most ${mostMemory} KiB are taken, and ${mostWork} KiB in the passes of all slots`
      throw new BlockError('EINVAL', `Argon2 over ${memory} KiB in ${passes} passes is refused`, {
        hint: `${bound}: change the password with less by cryptsetup`,
      })
    }
    this.#left -= work
  }
}

/** A key of `length` bytes. EINVAL for what Argon2 has not, ENOMEM where there is not the memory. */
export async function argon2(kdf: Argon2, password: Uint8Array, length: number): Promise<Uint8Array> {
  const { type, salt, passes, memory, lanes } = kdf
  const isSound = passes >= 1 && lanes >= 1 && lanes <= mostLanes && memory >= 8 * lanes
  if (!isSound || salt.length < 8 || salt.length > 1024) {
    throw new BlockError('EINVAL', 'a key slot asks for what Argon2 has not: its header is damaged')
  }
  const { argon2i, argon2id } = await import('hash-wasm')
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
