import { createHash } from 'node:crypto'
import type { DigestHash } from './settings.ts'

/** The hash of a text in UTF-8, in hexadecimal digits. */
export async function nodeHash(algorithm: DigestHash, text: string): Promise<string> {
  return createHash(algorithm).update(text).digest('hex')
}
