/** What this package needs of a platform: block ciphers in bulk, hashes, PBKDF2, and random bytes that nobody can guess. */

/** The ciphers that are known, by QEMU's names. */
export const cipherKeySizes = { 'aes-128': 16, 'aes-192': 24, 'aes-256': 32 } as const

/** One of {@link cipherKeySizes}; their blocks are 16 bytes. */
export type CipherAlgorithm = keyof typeof cipherKeySizes

/** The hashes that are known, by their names in LUKS headers, with the bytes of a digest. */
export const digestSizes = {
  md5: 16,
  sha1: 20,
  sha224: 28,
  sha256: 32,
  sha384: 48,
  sha512: 64,
  ripemd160: 20,
} as const

/** One of {@link digestSizes}. */
export type HashAlgorithm = keyof typeof digestSizes

/** Bytes of a block of every cipher here. */
export const blockSize = 16

/** A block cipher with one key. Each method takes whole blocks, leaves them alone, and returns new bytes. */
export interface BlockCipher {
  encrypt(blocks: Uint8Array): Uint8Array
  decrypt(blocks: Uint8Array): Uint8Array
  /** Encrypts a chain of blocks (CBC) that begins with `iv`. */
  encryptChain(iv: Uint8Array, blocks: Uint8Array): Uint8Array
}

/** See the top of this file. */
export interface Platform {
  /** `key` has as many bytes as {@link cipherKeySizes} says. */
  blockCipher(algorithm: CipherAlgorithm, key: Uint8Array): BlockCipher
  /** ENOTSUP where the platform has no such hash. */
  digest(algorithm: HashAlgorithm, data: Uint8Array): Uint8Array
  /** `length` bytes. ENOTSUP where the platform has no such hash. */
  pbkdf2(
    hash: HashAlgorithm,
    password: Uint8Array,
    salt: Uint8Array,
    iterations: number,
    length: number,
  ): Promise<Uint8Array>
  randomBytes(length: number): Uint8Array
}
