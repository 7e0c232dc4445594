/**
 * Signatures of file formats, to find files that are two things at once. They are looked for without any driver, so
 * that formats which nobody has installed are seen as well. Sources: the formats' specifications.
 */

/** A part of a file: bytes from `offset`, which is from the end where `fromEnd` is set. */
interface Signature {
  readonly format: string
  readonly offset: number
  readonly fromEnd?: boolean
  readonly bytes: string
}

const signatures: readonly Signature[] = [
  { format: 'qcow2', offset: 0, bytes: 'QFI\xfb\x00\x00\x00\x02' },
  { format: 'qcow2', offset: 0, bytes: 'QFI\xfb\x00\x00\x00\x03' },
  { format: 'qcow', offset: 0, bytes: 'QFI\xfb\x00\x00\x00\x01' },
  { format: 'qed', offset: 0, bytes: 'QED\x00' },
  { format: 'vmdk', offset: 0, bytes: 'KDMV' },
  { format: 'vmdk', offset: 0, bytes: 'COWD' },
  { format: 'vmdk descriptor', offset: 0, bytes: '# Disk DescriptorFile' },
  { format: 'vhdx', offset: 0, bytes: 'vhdxfile' },
  { format: 'vpc', offset: 0, bytes: 'conectix' },
  { format: 'vpc', offset: 512, fromEnd: true, bytes: 'conectix' },
  { format: 'vdi', offset: 64, bytes: '\x7f\x10\xda\xbe' },
  { format: 'parallels', offset: 0, bytes: 'WithoutFreeSpace' },
  { format: 'parallels', offset: 0, bytes: 'WithouFreSpacExt' },
  { format: 'luks', offset: 0, bytes: 'LUKS\xba\xbe' },
  { format: 'bochs', offset: 0, bytes: 'Bochs Virtual HD Image' },
  { format: 'cloop', offset: 0, bytes: '#!/bin/sh\n#V2.0 Format' },
  { format: 'dmg', offset: 512, fromEnd: true, bytes: 'koly' },
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
export const contentFormats: readonly string[] = ['mbr', 'gpt', 'iso9660']

/** How many bytes from the start, and from the end, {@link findSignatures} looks at. */
export const headLength = 32768 + 512
export const tailLength = 512

/** The formats whose signatures stand in a file, each once. */
export function findSignatures(head: Uint8Array, tail: Uint8Array): string[] {
  const found = signatures.filter((signature) => stands(signature, head, tail)).map(({ format }) => format)
  return [...new Set(found)]
}

function stands({ offset, fromEnd, bytes }: Signature, head: Uint8Array, tail: Uint8Array): boolean {
  const part = fromEnd ? tail : head
  const start = fromEnd ? tail.length - offset : offset
  if (start < 0 || start + bytes.length > part.length) return false
  for (let i = 0; i < bytes.length; i++) if (part[start + i] !== bytes.charCodeAt(i)) return false
  return true
}
