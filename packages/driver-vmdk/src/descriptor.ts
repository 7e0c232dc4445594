/**
 * Descriptors: lines of `key=value`, one line per extent, comments. They are read as bytes, for their encoding is one of
 * the things that they say, and a change replaces bytes in place.
 */
import { BlockError } from '@diskgraph/core/driver'
import { Most, noParent, sectorSize } from './layout.ts'

/** One line of a descriptor that says what a part of the disk is. */
export interface ExtentLine {
  readonly access: 'RW' | 'RDONLY'
  /** Bytes of the disk. */
  readonly length: number
  readonly type: 'FLAT' | 'VMFS' | 'SPARSE' | 'VMFSSPARSE'
  readonly filename: string
  /** Where in the file it begins, in bytes; of flat extents. */
  readonly offset: number
}

/** What a descriptor says. */
export interface Descriptor {
  /** All of it, without what fills up its room. */
  readonly bytes: Uint8Array
  readonly cid: number
  readonly parentCid: number
  readonly createType: string
  /** The file name of the image below. */
  readonly parentName: string | undefined
  /** EINVAL, with QEMU's words, for a line that is wrong; ENOTSUP for what is not known. */
  extents(): readonly ExtentLine[]
}

const flatTypes = ['FLAT', 'VMFS']
const sparseTypes = ['SPARSE', 'VMFSSPARSE']
/** No file has a longer name. */
const longestName = 4096
const accesses = ['RW', 'RDONLY', 'NOACCESS']

/** Whether a file begins as a descriptor: after comments and empty lines there is a version that is known. */
export function isDescriptor(head: Uint8Array): boolean {
  for (const line of linesOf(oneCharPerByte(head))) {
    if (line === '' || line.startsWith('#')) continue
    return /^version=[123]\s*$/.test(line)
  }
  return false
}

/** Reads a descriptor, which ends with `bytes` or at the first zero. EINVAL where it lacks something. */
export function parseDescriptor(bytes: Uint8Array): Descriptor {
  const end = bytes.indexOf(0)
  const own = end < 0 ? bytes : bytes.subarray(0, end)
  const values = new Map<string, string>()
  const lines: string[] = []
  for (const line of linesOf(oneCharPerByte(own))) {
    if (line === '' || line.startsWith('#')) continue
    if (accesses.some((access) => line.startsWith(`${access} `))) {
      lines.push(line)
      continue
    }
    const equals = line.indexOf('=')
    const key = line.slice(0, Math.max(0, equals)).trim()
    if (equals > 0 && !values.has(key)) values.set(key, unquoted(line.slice(equals + 1).trim()))
  }
  const decoder = decoderFor(values.get('encoding'))
  const parentName = values.get('parentFileNameHint')
  if (lines.length > Most.extents)
    throw new BlockError('EINVAL', `an image of ${lines.length} extents is not supported`)
  return {
    bytes: own,
    cid: hexadecimal(values, 'CID'),
    parentCid: hexadecimal(values, 'parentCID'),
    createType: values.get('createType') ?? '',
    parentName: parentName === undefined || parentName === '' ? undefined : decoder(parentName),
    extents: () => lines.map((line) => parseExtent(line, decoder)),
  }
}

/** `bytes` with another CID. EINVAL where there is none to be replaced. */
export function withCid(bytes: Uint8Array, cid: number): Uint8Array {
  const text = oneCharPerByte(bytes)
  const line = text.startsWith('CID=') ? 0 : text.indexOf('\nCID=') + 1
  if (line === 0 && !text.startsWith('CID=')) throw new BlockError('EINVAL', 'the descriptor has no line with a CID')
  const start = line + 'CID='.length
  let end = start
  while (end < text.length && !'\r\n '.includes(text[end] as string)) end++
  const value = new TextEncoder().encode(hex(cid))
  const result = new Uint8Array(bytes.length - (end - start) + value.length)
  result.set(bytes.subarray(0, start))
  result.set(value, start)
  result.set(bytes.subarray(end), start + value.length)
  return result
}

/** A CID as descriptors write it. */
export function hex(cid: number): string {
  return cid.toString(16).padStart(8, '0')
}

/** One character for each byte, so that places in the text are places in the bytes. */
function oneCharPerByte(bytes: Uint8Array): string {
  let text = ''
  for (let at = 0; at < bytes.length; at += 4096) text += String.fromCharCode(...bytes.subarray(at, at + 4096))
  return text
}

function linesOf(text: string): string[] {
  return text.split('\n').map((line) => line.trim())
}

function unquoted(value: string): string {
  return value.length > 1 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value
}

function hexadecimal(values: ReadonlyMap<string, string>, key: string): number {
  const text = values.get(key)
  if (text === undefined) {
    if (key === 'parentCID') return noParent
    throw new BlockError('EINVAL', `the descriptor has no ${key}`)
  }
  if (!/^[0-9a-fA-F]{1,8}$/.test(text)) throw new BlockError('EINVAL', `the descriptor has a ${key} that is no number`)
  return Number.parseInt(text, 16)
}

/** From bytes, one character for each, to text. EINVAL for an encoding that this platform does not know. */
function decoderFor(encoding = 'utf-8'): (value: string) => string {
  let decoder: TextDecoder
  try {
    decoder = new TextDecoder(encoding)
  } catch (cause) {
    throw new BlockError('EINVAL', `the descriptor has the encoding '${encoding.slice(0, 40)}', which is unknown`, {
      cause,
    })
  }
  return (value) => decoder.decode(Uint8Array.from(value, (char) => char.charCodeAt(0)))
}

/**
 * Reads `access sectors TYPE "name" offset`. What follows an offset (devices of Windows) has no meaning here.
 */
function parseExtent(line: string, decode: (value: string) => string): ExtentLine {
  const [access = '', sectors = '', type = ''] = line.split(' ', 3)
  const open = line.indexOf('"')
  const close = line.lastIndexOf('"')
  const length = wholeNumber(sectors) * sectorSize
  const before = `${access} ${sectors} ${type} `.length
  if (!Number.isSafeInteger(length) || length === 0) throw invalidLine(line)
  const isFlat = flatTypes.includes(type)
  if (!isFlat && !sparseTypes.includes(type)) {
    throw new BlockError('ENOTSUP', `Unsupported extent type '${type.slice(0, 40)}'`)
  }
  if (access === 'NOACCESS') throw new BlockError('ENOTSUP', `nothing can be read of the extent: ${line.slice(0, 200)}`)
  if (open !== before || close <= open + 1 || close - open > longestName) throw invalidLine(line)
  const rest = line.slice(close + 1).trim()
  // VMFS extents have no offset.
  if (rest !== '' && type !== 'FLAT') throw invalidLine(line)
  const offset = rest === '' ? 0 : wholeNumber(rest.split(' ', 1)[0] as string) * sectorSize
  if (!Number.isSafeInteger(offset + length)) throw invalidLine(line)
  const filename = decode(line.slice(open + 1, close))
  return { access: access as 'RW' | 'RDONLY', length, type: type as ExtentLine['type'], filename, offset }
}

function wholeNumber(text: string): number {
  return /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
}

function invalidLine(line: string): BlockError {
  return new BlockError('EINVAL', `Invalid extent line: ${line.slice(0, 200)}`)
}
