/** Secrets: from a text or a file, plain or in base64, in clear or encrypted with another secret (AES-256-CBC). */
import { createDecipheriv } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { BlockError, describeErrorCode, errorCodeOf } from '@diskgraph/core/driver'

const [keyLength, blockLength] = [32, 16]

/** Properties of a secret object; QAPI's SecretProperties. */
export interface SecretProperties {
  readonly data?: string | undefined
  readonly file?: string | undefined
  readonly format?: 'raw' | 'base64' | undefined
  /** Id of the secret with which `data` is encrypted. */
  readonly keyid?: string | undefined
  /** In base64. */
  readonly iv?: string | undefined
}

/**
 * The bytes that `options` stand for; `secret` gives those of another by its id. EINVAL for what is none, and what reading a
 * file says.
 */
export async function secretBytes(options: SecretProperties, secret: (id: string) => Uint8Array): Promise<Uint8Array> {
  const { data, file, format = 'raw', keyid, iv } = options
  if (data !== undefined && file !== undefined) {
    throw new BlockError('EINVAL', "'file' and 'data' are mutually exclusive")
  }
  if (data === undefined && file === undefined) {
    throw new BlockError('EINVAL', "Either 'file' or 'data' must be provided")
  }
  const given = file === undefined ? Buffer.from(data as string) : await readSecret(file)
  if (keyid !== undefined) return decrypted(secret(keyid), given, { ...options, format, keyid, iv })
  return format === 'raw' ? given : fromBase64(Buffer.from(given).toString('latin1'))
}

function decrypted(
  key: Uint8Array,
  given: Uint8Array,
  { format, keyid, iv }: { readonly format: 'raw' | 'base64'; readonly keyid: string; readonly iv: string | undefined },
): Uint8Array {
  if (key.length !== keyLength) throw new BlockError('EINVAL', `Key should be ${keyLength} bytes in length`)
  if (iv === undefined) throw new BlockError('EINVAL', 'IV is required to decrypt secret')
  const start = fromBase64(iv)
  if (start.length !== blockLength) {
    throw new BlockError('EINVAL', `IV should be ${blockLength} bytes in length not ${start.length}`)
  }
  const text = format === 'raw' ? given : fromBase64(Buffer.from(given).toString('latin1'))
  if (text.length % blockLength !== 0) {
    throw new BlockError('EINVAL', `Length ${text.length} must be a multiple of block size ${blockLength}`)
  }
  const decipher = createDecipheriv('aes-256-cbc', key, start).setAutoPadding(false)
  const padded = Buffer.concat([decipher.update(text), decipher.final()])
  const padding = padded.at(-1) ?? 0
  if (padding > blockLength || padding > padded.length) {
    const message = `Incorrect number of padding bytes (${padding}) found on decrypted data`
    throw new BlockError('EINVAL', message, { hint: `the secret '${keyid}' or the IV is another one` })
  }
  return padded.subarray(0, padded.length - padding)
}

function fromBase64(text: string): Uint8Array {
  const bare = text.replace(/\s/g, '')
  if (bare.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(bare)) {
    throw new BlockError('EINVAL', 'Base64 data contains invalid characters')
  }
  return Buffer.from(bare, 'base64')
}

async function readSecret(file: string): Promise<Uint8Array> {
  try {
    return await readFile(file)
  } catch (cause) {
    const code = errorCodeOf(cause)
    const message = `Unable to read ${file}: Failed to open file “${file}”: ${describeErrorCode(code)}`
    throw new BlockError(code, message, { cause })
  }
}
