/** {@link Platform} by OpenSSL, with PBKDF2 on the thread pool. */
import { createCipheriv, createDecipheriv, createHash, pbkdf2, randomBytes } from 'node:crypto'
import { BlockError } from '@diskgraph/core/driver'
import type { CipherAlgorithm, HashAlgorithm, Platform } from './platform.ts'

/** See the top of this file. */
export const nodePlatform: Platform = {
  blockCipher(algorithm: CipherAlgorithm, key: Uint8Array) {
    // Without padding and chains a cipher keeps nothing from one call to the next.
    const encryptor = createCipheriv(`${algorithm}-ecb`, key, null).setAutoPadding(false)
    const decryptor = createDecipheriv(`${algorithm}-ecb`, key, null).setAutoPadding(false)
    const kept = key.slice()
    return {
      encrypt: (blocks) => encryptor.update(blocks),
      decrypt: (blocks) => decryptor.update(blocks),
      encryptChain: (iv, blocks) => createCipheriv(`${algorithm}-cbc`, kept, iv).setAutoPadding(false).update(blocks),
    }
  },

  digest(algorithm, data) {
    try {
      return createHash(algorithm).update(data).digest()
    } catch (cause) {
      throw unknownHash(algorithm, cause)
    }
  },

  pbkdf2: (hash, password, salt, iterations, length) =>
    new Promise((resolve, reject) => {
      try {
        pbkdf2(password, salt, iterations, length, hash, (error, key) => {
          if (error === null) resolve(key)
          else reject(error)
        })
      } catch (cause) {
        reject(unknownHash(hash, cause))
      }
    }),

  randomBytes: (length) => randomBytes(length),
}

function unknownHash(name: HashAlgorithm, cause: unknown): BlockError {
  return new BlockError('ENOTSUP', `Hash algorithm '${name}' not supported`, {
    cause,
    hint: 'the OpenSSL of this Node has no such hash',
  })
}
