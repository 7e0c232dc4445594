/**
 * Signatures of image formats, with or without a driver for them.
 *
 * Probing asks drivers, so a format whose driver is missing would pass for raw, and its container would be copied as
 * if it were a disk. These signatures find it first. Most stand at the start of a file. A fixed VHD and a DMG image
 * begin with the disk itself and are known by what stands at their end.
 *
 * Sources: the specifications of the formats; which variants QEMU 7.2 takes for which format was found out by running
 * `qemu-img info` on changed headers. What only the specification knows (another version, a descriptor of VMDK with
 * empty lines in front) is recognised as well, except LUKS 2, whose volumes QEMU takes for raw.
 */
import { BlockError } from '../errors.ts'

interface Signature {
  readonly format: string
  readonly offset: number
  /** One character for each byte. */
  readonly bytes: string
  /** What must hold besides. */
  readonly also?: (head: Uint8Array) => boolean
}

const signatures: readonly Signature[] = [
  { format: 'qcow2', offset: 0, bytes: 'QFI\xfb', also: (head) => bigEndian(head, 4, 4) >= 2 },
  { format: 'qcow', offset: 0, bytes: 'QFI\xfb', also: (head) => bigEndian(head, 4, 4) < 2 },
  { format: 'qed', offset: 0, bytes: 'QED\0' },
  { format: 'cow', offset: 0, bytes: 'OOOM\0\0\0\x02' },
  { format: 'vmdk', offset: 0, bytes: 'KDMV' },
  { format: 'vmdk', offset: 0, bytes: 'COWD' },
  { format: 'vmdk', offset: 0, bytes: '\xbe\xba\xfe\xca\0\0\0\0' },
  { format: 'vmdk', offset: 0, bytes: '', also: isVmdkDescriptor },
  { format: 'vdi', offset: 64, bytes: '\x7f\x10\xda\xbe' },
  { format: 'vhdx', offset: 0, bytes: 'vhdxfile' },
  { format: 'vpc', offset: 0, bytes: 'conectix' },
  { format: 'parallels', offset: 0, bytes: 'WithoutFreeSpace' },
  { format: 'parallels', offset: 0, bytes: 'WithouFreSpacExt' },
  { format: 'bochs', offset: 0, bytes: 'Bochs Virtual HD Image\0' },
  { format: 'cloop', offset: 0, bytes: '#!/bin/sh\n#V2.0 Format\n' },
  { format: 'luks', offset: 0, bytes: 'LUKS\xba\xbe\0\x01' },
  { format: 'luks2', offset: 0, bytes: 'LUKS\xba\xbe\0\x02' },
]

/** How many bytes from the start {@link foreignFormat} looks at. */
export const signatureHeadLength = 2048
/** How many bytes from the end {@link foreignFooter} looks at. */
export const signatureTailLength = 1024

/**
 * The format whose signature stands at the start of a file; undefined for none. `head` is the first 2 KiB, or all of
 * a shorter file. A name that ends in `.dmg` counts, too, as in QEMU.
 */
export function foreignFormat(head: Uint8Array, filename: string): string | undefined {
  return headFormats(head)[0] ?? (filename.endsWith('.dmg') ? 'dmg' : undefined)
}

/** All formats whose signatures stand at the start of a file. */
export function headFormats(head: Uint8Array): string[] {
  const found = signatures.filter(
    ({ offset, bytes, also }) => stands(head, offset, bytes) && (also === undefined || also(head)),
  )
  return [...new Set(found.map(({ format }) => format))]
}

/** False for a format whose signatures are known and do not stand there: its driver need not be asked. */
export function mayBe(format: string, head: Uint8Array): boolean {
  return headFormats(head).includes(format) || !signatures.some((one) => one.format === format)
}

/** Footers of VHD take 512 bytes, those of its first version 511. */
const vpcFooters: readonly number[] = [512, 511]

/** The format whose signature stands at the end of a file; undefined for none. `tail` is its last 1 KiB at most. */
export function foreignFooter(tail: Uint8Array): string | undefined {
  if (vpcFooters.some((length) => stands(tail, tail.length - length, 'conectix'))) return 'vpc'
  for (let at = 0; at < tail.length; at++) {
    // The trailer of UDIF, version 4, 512 bytes; something small may follow it.
    if (tail[at] === 0x6b && stands(tail, at, 'koly\0\0\0\x04\0\0\x02\0')) return 'dmg'
  }
  return undefined
}

/** What the functions below read a file through; a node of a graph is one. */
export interface SignatureReader {
  readonly size: number
  read(offset: number, buf: Uint8Array, flags: number): Promise<void>
}

/** The format by the signature at the start or at the end of a file; undefined for none. */
export async function detectForeignFormat(reader: SignatureReader, filename: string): Promise<string | undefined> {
  const head = new Uint8Array(Math.min(signatureHeadLength, reader.size))
  await reader.read(0, head, 0)
  const found = foreignFormat(head, filename)
  if (found !== undefined) return found
  const tail = new Uint8Array(Math.min(signatureTailLength, reader.size))
  await reader.read(reader.size - tail.length, tail, 0)
  return foreignFooter(tail)
}

/**
 * For a file that probing takes for raw: throws ENOTSUP when it is an image of a format that is none of `known`, the
 * formats that have a driver and have been asked.
 */
export async function refuseForeignFormat(
  reader: SignatureReader,
  filename: string,
  known: readonly string[],
): Promise<void> {
  const format = await detectForeignFormat(reader, filename)
  if (format === undefined || known.includes(format)) return
  throw new BlockError(
    'ENOTSUP',
    `it has the signature of format '${format}', whose driver is missing; ` +
      'to take it for raw data, give that format: -f raw',
    { hint: `register a driver '${format}', or open the file with the format 'raw'` },
  )
}

function stands(part: Uint8Array, offset: number, bytes: string): boolean {
  if (offset < 0 || offset + bytes.length > part.length) return false
  for (let i = 0; i < bytes.length; i++) if (part[offset + i] !== bytes.charCodeAt(i)) return false
  return true
}

/** A number of `length` bytes; bytes that are missing count as 0. */
function bigEndian(head: Uint8Array, offset: number, length: number): number {
  let value = 0
  for (let i = 0; i < length; i++) value = value * 256 + (head[offset + i] ?? 0)
  return value
}

/** Lines of a descriptor that are neither empty nor comments begin with one of these, or describe an extent. */
const descriptorLine =
  /^\s*(?:(?:version|encoding|cid|parentcid|createtype|isnativesnapshot)\s*=|(?:rw|rdonly|noaccess)\s+\d+\s+[a-z]+)/i

/**
 * Whether a text begins like the descriptor of a VMDK image (VMware, Virtual Disk Format 5.0): the usual first line,
 * or a line of a descriptor behind comments and empty lines only.
 */
function isVmdkDescriptor(head: Uint8Array): boolean {
  if (!mayBeDescriptor(head)) return false
  const lines = textOf(head).split(/\r?\n/)
  if (/^\ufeff?\s*#\s*disk\s+descriptorfile/i.test(lines[0] as string)) return true
  for (const line of lines) {
    if (/^\s*(?:#|$)/.test(line)) continue
    return descriptorLine.test(line)
  }
  return false
}

const whiteSpace = new Set([9, 10, 11, 12, 13, 32])
/** First letters of what {@link descriptorLine} takes, and of comments. */
const descriptorStarts = new Set([...'#vecpirnVECPIRN'].map((letter) => letter.charCodeAt(0)))

/** Whether the first byte that is no white space fits. Every file that is probed comes by here, most go no further. */
function mayBeDescriptor(head: Uint8Array): boolean {
  let at = byteOrderMarkLength(head)
  while (whiteSpace.has(head[at] ?? 0)) at++
  return descriptorStarts.has(head[at] ?? 0)
}

function byteOrderMarkLength(head: Uint8Array): number {
  return stands(head, 0, '\xef\xbb\xbf') ? 3 : 0
}

/** Bytes as characters of the same numbers; the mark of UTF-8 in front is left out. */
function textOf(head: Uint8Array): string {
  let text = ''
  for (let at = byteOrderMarkLength(head); at < head.length && at < signatureHeadLength; at++) {
    text += String.fromCharCode(head[at] as number)
  }
  return text
}
