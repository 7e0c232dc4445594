/** {@link Platform} for browsers: plain code for ciphers and hashes, and Web Crypto for PBKDF2 where it knows the hash. */
import { cbc, ecb } from '@noble/ciphers/aes.js'
import { randomBytes } from '@noble/ciphers/utils.js'
import { md5, ripemd160, sha1 } from '@noble/hashes/legacy.js'
import { pbkdf2Async } from '@noble/hashes/pbkdf2.js'
import { sha224, sha256, sha384, sha512 } from '@noble/hashes/sha2.js'
import type { HashAlgorithm, Platform } from './platform.ts'

const hashes = { md5, sha1, sha224, sha256, sha384, sha512, ripemd160 }
const webHashes: Partial<Record<HashAlgorithm, string>> = {
  sha1: 'SHA-1',
  sha256: 'SHA-256',
  sha384: 'SHA-384',
  sha512: 'SHA-512',
}

/** See the top of this file. */
export const browserPlatform: Platform = {
  blockCipher(_algorithm, key) {
    const kept = key.slice()
    const plain = { disablePadding: true }
    return {
      encrypt: (blocks) => ecb(kept, plain).encrypt(blocks),
      decrypt: (blocks) => ecb(kept, plain).decrypt(blocks),
      encryptChain: (iv, blocks) => cbc(kept, iv, plain).encrypt(blocks),
    }
  },

  digest: (algorithm, data) => hashes[algorithm](data),

  async pbkdf2(hash, password, salt, iterations, length) {
    const name = webHashes[hash]
    // Pages that are not served securely have no Web Crypto.
    const { subtle } = globalThis.crypto
    if (name === undefined || subtle === undefined) {
      return pbkdf2Async(hashes[hash], password, salt, { c: iterations, dkLen: length })
    }
    const key = await subtle.importKey('raw', password.slice(), 'PBKDF2', false, ['deriveBits'])
    const parameters = { name: 'PBKDF2', hash: name, salt: salt.slice(), iterations }
    return new Uint8Array(await subtle.deriveBits(parameters, key, length * 8))
  },

  randomBytes: (length) => randomBytes(length),
}
