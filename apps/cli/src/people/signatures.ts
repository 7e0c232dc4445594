/**
 * Signatures of file formats, to find files that are two things at once: those of disk images, which the block layer
 * knows whether their drivers are there or not, and those of files that may pass for a disk. Sources: the formats'
 * specifications.
 */
import { foreignFooter, headFormats, signatureHeadLength, signatureTailLength } from '@diskgraph/core/internal'

/** A part of a file: bytes from `offset`. */
interface Signature {
  readonly format: string
  readonly offset: number
  readonly bytes: string
}

const signatures: readonly Signature[] = [
  { format: 'luks2', offset: 16384, bytes: 'SKUL\xba\xbe' },
  { format: 'gzip', offset: 0, bytes: '\x1f\x8b\x08' },
  { format: 'xz', offset: 0, bytes: '\xfd7zXZ\x00' },
  { format: 'zstd', offset: 0, bytes: '\x28\xb5\x2f\xfd' },
  { format: 'zip', offset: 0, bytes: 'PK\x03\x04' },
  { format: 'elf', offset: 0, bytes: '\x7fELF' },
  { format: 'iso9660', offset: 32769, bytes: 'CD001' },
  { format: 'gpt', offset: 512, bytes: 'EFI PART' },
  { format: 'mbr', offset: 510, bytes: '\x55\xaa' },
]

/** Signatures that stand inside a disk's content: on a raw image they are what is to be expected. */
const contentFormats: readonly string[] = ['mbr', 'gpt', 'iso9660']

/** Formats of the chunks of a dmg, the first of which stands where other files have their signature. */
const chunkFormats: readonly string[] = ['xz']

/** Those of `signatures` that are of images that hold a disk; `format` is that which the image was opened as. */
export function containersOf(signatures: readonly string[], format?: string): string[] {
  const inside = format === 'dmg' ? [...contentFormats, ...chunkFormats] : contentFormats
  return signatures.filter((name) => !inside.includes(name))
}

/** How many bytes from the start, and from the end, {@link findSignatures} looks at. */
export const headLength = 64 * 1024 + 512
export const tailLength = signatureTailLength

/** The formats whose signatures stand in a file, each once. */
export function findSignatures(head: Uint8Array, tail: Uint8Array): string[] {
  const footer = foreignFooter(tail)
  const found = [
    ...headFormats(head.subarray(0, signatureHeadLength)),
    ...(footer === undefined ? [] : [footer]),
    ...signatures.filter((signature) => stands(signature, head)).map(({ format }) => format),
  ]
  return [...new Set(found)]
}

function stands({ offset, bytes }: Signature, head: Uint8Array): boolean {
  if (offset + bytes.length > head.length) return false
  for (let i = 0; i < bytes.length; i++) if (head[offset + i] !== bytes.charCodeAt(i)) return false
  return true
}
