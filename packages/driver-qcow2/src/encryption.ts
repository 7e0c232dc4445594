/** What an encrypted image has besides: which secrets, and where the header of LUKS stands. The rest is in @diskgraph/crypto. */
import {
  BlockError,
  type ChildHandle,
  type CreateContext,
  type InfoValue,
  isAligned,
  type OpenContext,
} from '@diskgraph/core/driver'
import type { EncryptionOptions, HeaderStorage, ImageEncryption } from '@diskgraph/crypto'
import { readU64, refuse, viewOf } from './bytes.ts'
import { findExtension } from './header/extensions.ts'
import type { Header } from './header/header.ts'
import { CryptMethod, ExtensionType } from './header/layout.ts'

type Crypto = typeof import('@diskgraph/crypto')

/** The code of it; ENOTSUP where it is not installed. */
async function loadCrypto(): Promise<Crypto> {
  try {
    // A bundler lets an import be that may fail.
    return await import('@diskgraph/crypto').catch((error) => {
      throw error
    })
  } catch (cause) {
    throw new BlockError('ENOTSUP', 'the image is encrypted', { cause, hint: "install '@diskgraph/crypto'" })
  }
}

/** A range of the file. */
interface Region {
  readonly offset: number
  readonly length: number
}

/** Where the header of LUKS stands; undefined in an image without. EINVAL for a place that is none. */
export function encryptionRegion(header: Header): Region | undefined {
  if (header.cryptMethod !== CryptMethod.luks) return undefined
  const extension = findExtension(header.extensions, ExtensionType.encryptionHeader)
  if (extension === undefined) refuse('EINVAL', 'the header of LUKS has no place in the image')
  const view = viewOf(extension!.data)
  const [offset, length] = [readU64(view, 0), readU64(view, 8)]
  const clusterSize = 2 ** header.clusterBits
  if (!isAligned(offset, clusterSize)) {
    refuse('EINVAL', `Encryption header offset '${offset}' is not a multiple of cluster size '${clusterSize}'`)
  }
  return { offset, length }
}

/** A region of `file`, and nothing around it. */
function storageIn(file: ChildHandle, region: Region | undefined): HeaderStorage {
  const place = (offset: number, length: number): number => {
    if (region === undefined || offset + length > region.length) {
      refuse('EINVAL', 'the header of LUKS is longer than its place in the image')
    }
    return region!.offset + offset
  }
  return {
    read: async (offset, buf) => file.read(place(offset, buf.length), buf),
    write: async (offset, data) => file.write(place(offset, data.length), data),
    flush: () => file.flush(),
  }
}

/** Opens the encryption of an image. EINVAL without a secret, EPERM with a wrong one. */
export async function openEncryption(context: OpenContext, header: Header): Promise<ImageEncryption> {
  const { encryption } = await loadCrypto()
  const format = header.cryptMethod === CryptMethod.luks ? 'luks' : 'aes'
  return encryption.open(format, (context.options.encrypt ?? {}) as EncryptionOptions, {
    clock: context.clock,
    signal: context.signal,
    storage: storageIn(context.children.require('file'), encryptionRegion(header)),
    secret: (id) => context.secret(id),
  })
}

/** What can be told of an image without its secret. */
export async function encryptionInfo(
  file: ChildHandle,
  header: Header,
): Promise<{ readonly [key: string]: InfoValue | undefined }> {
  const region = encryptionRegion(header)
  if (region === undefined) return {}
  const { encryption } = await loadCrypto()
  return encryption.info(storageIn(file, region))
}

/** Bytes of the header that a new image needs for its encryption. EINVAL for options that do not go together. */
export async function encryptionHeaderSize(options: EncryptionOptions): Promise<number> {
  const { encryption } = await loadCrypto()
  return encryption.headerSize(options)
}

/** Writes the header of LUKS into `region` of a new image, and checks the secret of any. */
export async function formatEncryption(
  context: CreateContext,
  options: EncryptionOptions,
  region: Region | undefined,
): Promise<void> {
  const { encryption } = await loadCrypto()
  const { clock, signal } = context
  const storage = storageIn(context.children.require('file'), region)
  await encryption.format(options, { clock, signal, storage, secret: (id) => context.secret(id) })
}
