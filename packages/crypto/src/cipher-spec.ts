/** How sectors are encrypted: the names that headers and options have for it, and their checks. */
import { BlockError } from '@diskgraph/core/driver'
import { type CipherAlgorithm, cipherKeySizes, digestSizes, type HashAlgorithm } from './platform.ts'

/** How the blocks of a sector depend on each other and on its number. */
export const cipherModes = ['ecb', 'cbc', 'xts', 'ctr'] as const
/** How the first vector of a sector comes from its number. */
export const ivGenerators = ['plain', 'plain64', 'essiv'] as const

type CipherMode = (typeof cipherModes)[number]
type IvGenerator = (typeof ivGenerators)[number]

/** A cipher, and how it is used on sectors. */
export interface CipherSpec {
  readonly algorithm: CipherAlgorithm
  readonly mode: CipherMode
  readonly ivGenerator: IvGenerator
  /** Of `essiv`: what the key of the vectors is made with. */
  readonly ivHash?: HashAlgorithm
}

/** What a header says of a cipher, in the words of {@link CipherSpec}; there may be no code for it. */
export type NamedCipher = { readonly [K in keyof CipherSpec]: string }

/** Bytes of a key for `spec`: XTS takes two. */
export function keySizeOf({ algorithm, mode }: Pick<CipherSpec, 'algorithm' | 'mode'>): number {
  return cipherKeySizes[algorithm] * (mode === 'xts' ? 2 : 1)
}

/** Throws EINVAL, with what there is, for names that are none of those above. */
export function checkCipherSpec({ algorithm, mode, ivGenerator, ivHash }: CipherSpec): void {
  const choices: readonly (readonly [string, unknown, readonly string[]])[] = [
    ['algorithm', algorithm, Object.keys(cipherKeySizes)],
    ['mode', mode, cipherModes],
    ['ivGenerator', ivGenerator, ivGenerators],
    ...(ivGenerator === 'essiv' ? [['ivHash', ivHash, Object.keys(digestSizes)] as const] : []),
  ]
  for (const [name, value, known] of choices) {
    if (!known.includes(value as string)) {
      throw new BlockError('EINVAL', `a cipher's ${name} is one of ${known.join(', ')}, not ${String(value)}`)
    }
  }
}

/** The cipher by which `essiv` encrypts sector numbers: AES with a key as long as the digest. EINVAL if there is none. */
export function essivCipher(hash: HashAlgorithm): CipherAlgorithm {
  const size = digestSizes[hash]
  for (const [name, keySize] of Object.entries(cipherKeySizes)) if (keySize === size) return name as CipherAlgorithm
  throw new BlockError('EINVAL', `No AES cipher with key size ${size} available`)
}

/**
 * A cipher as a header names it, known or not: a name (`twofish`), a mode (`xts-plain64`), and the bytes of the key, of
 * which XTS takes two. EINVAL for a mode that is no list of names.
 */
export function nameCipher(name: string, mode: string, keySize: number): NamedCipher {
  const { chaining, generator, hash } = splitMode(mode)
  const algorithm = `${name}-${(chaining === 'xts' ? keySize / 2 : keySize) * 8}`
  return { algorithm, mode: chaining, ivGenerator: generator, ...(hash === undefined ? {} : { ivHash: hash }) }
}

function splitMode(mode: string): { chaining: string; generator: string; hash: string | undefined } {
  const match = /^([^-]*)-([^:]*)(?::(.*))?$/.exec(mode)
  // The only mode without vectors.
  if (match === null && mode !== 'ecb') throw new BlockError('EINVAL', `Unexpected cipher mode string format '${mode}'`)
  const [, chaining = 'ecb', generator = 'plain', hash] = match ?? []
  return { chaining, generator, hash }
}

/**
 * Reads the names in a header: a cipher (`aes`), a mode (`xts-plain64`, `cbc-essiv:sha256`), and the bytes of the key.
 * ENOTSUP for what is not known.
 */
export function parseCipherSpec(name: string, mode: string, keySize: number): CipherSpec {
  const { chaining, generator, hash } = splitMode(mode)
  if (!isOneOf(cipherModes, chaining)) throw new BlockError('ENOTSUP', `Cipher mode '${chaining}' not supported`)
  const algorithm = algorithmOf(name, chaining === 'xts' ? keySize / 2 : keySize)
  if (!isOneOf(ivGenerators, generator)) throw new BlockError('ENOTSUP', `IV generator '${generator}' not supported`)
  if (generator !== 'essiv') return { algorithm, mode: chaining, ivGenerator: generator }
  if (hash === undefined) throw new BlockError('EINVAL', 'Missing IV generator hash specification')
  const ivHash = parseHash(hash)
  essivCipher(ivHash)
  return { algorithm, mode: chaining, ivGenerator: generator, ivHash }
}

/** The name of a mode in a header. */
export function modeText({ mode, ivGenerator, ivHash }: CipherSpec): string {
  return `${mode}-${ivGenerator}${ivHash === undefined ? '' : `:${ivHash}`}`
}

/** The hash called `name` in a header. ENOTSUP if it is not known. */
export function parseHash(name: string): HashAlgorithm {
  if (Object.hasOwn(digestSizes, name)) return name as HashAlgorithm
  throw new BlockError('ENOTSUP', `Hash algorithm '${name}' not supported`)
}

function algorithmOf(name: string, keySize: number): CipherAlgorithm {
  const algorithm = `${name}-${keySize * 8}`
  if (name === 'aes' && Object.hasOwn(cipherKeySizes, algorithm)) return algorithm as CipherAlgorithm
  const hint = name === 'aes' ? undefined : 'of the ciphers only AES is supported'
  throw new BlockError('ENOTSUP', `Algorithm '${name}' with key size ${Math.floor(keySize)} bytes not supported`, {
    hint,
  })
}

function isOneOf<T extends string>(values: readonly T[], value: string): value is T {
  return values.includes(value as T)
}
