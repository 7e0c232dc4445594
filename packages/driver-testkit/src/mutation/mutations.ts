import type { PagedFile } from '../paged-file.ts'
import type { Random } from '../random.ts'

/** A number in an image, big-endian unless it says otherwise. */
export interface Field {
  readonly name: string
  readonly offset: number
  /** Bytes: 1, 2, 4 or 8. */
  readonly width: number
  readonly littleEndian?: boolean
}

/** Finds the fields of an image, for mutations that know its structure; `image` is intact. */
export type FieldList = (image: Uint8Array) => readonly Field[]

/** Numbers that follow each other in an image, from the byte `from` to the byte `to`. */
export interface NumberRange extends Pick<Field, 'name' | 'width' | 'littleEndian'> {
  readonly from: number
  readonly to: number
}

/** The fields of images whose numbers stand at places that are known: those of each range, as far as the image has them. */
export function numberFields(ranges: readonly NumberRange[]): FieldList {
  return (image) =>
    ranges.flatMap(({ name, from, to, width, littleEndian = false }) =>
      Array.from({ length: Math.max(0, Math.floor((Math.min(to, image.length) - from) / width)) }, (_, i) => ({
        name,
        offset: from + i * width,
        width,
        littleEndian,
      })),
    )
}

type Mutation = 'field' | 'bits' | 'bytes' | 'splice' | 'truncate' | 'extend' | 'copy'

const weights: Readonly<Record<Mutation, number>> = {
  field: 60,
  copy: 10,
  bits: 8,
  bytes: 10,
  splice: 6,
  truncate: 4,
  extend: 2,
}

/** Changes `file` in one to four ways, chosen by `random`, and says how. */
export function mutate(file: PagedFile, fields: readonly Field[], random: Random): string {
  const count = random.chance(0.6) ? 1 : random.between(2, 4)
  return Array.from({ length: count }, () => mutateOnce(file, fields, random)).join('; ')
}

function mutateOnce(file: PagedFile, fields: readonly Field[], random: Random): string {
  const kind = random.weighted(weights)
  if (file.size === 0) return 'nothing, the file is empty'
  switch (kind) {
    case 'field':
      return changeField(file, pickField(fields, random), random)
    case 'copy':
      return copyField(file, fields, random)
    case 'bits':
      return flipBits(file, random)
    case 'bytes':
      return overwrite(file, random)
    case 'splice':
      return splice(file, random)
    case 'truncate': {
      const size = random.chance(0.5) ? random.below(file.size) : Math.floor(random.below(file.size) / 512) * 512
      file.truncate(size)
      return `cut to ${size} bytes`
    }
    case 'extend': {
      const size = file.size + random.pick([1, 511, 65536, 2 ** 30])
      file.truncate(size)
      return `extended to ${size} bytes`
    }
  }
}

/** Fields of the header come as often as all others together. */
function pickField(fields: readonly Field[], random: Random): Field {
  const header = fields.filter(({ offset }) => offset < 112)
  return random.pick(random.chance(0.5) && header.length > 0 ? header : fields)
}

function changeField(file: PagedFile, field: Field, random: Random): string {
  const old = readField(file, field)
  const value = newValue(old, field, file, random)
  writeField(file, field, value)
  return `${field.name} at ${field.offset}: 0x${old.toString(16)} becomes 0x${value.toString(16)}`
}

function newValue(old: bigint, { width }: Field, file: PagedFile, random: Random): bigint {
  const bits = BigInt(width * 8)
  const mask = (1n << bits) - 1n
  const somewhere = BigInt(random.below(file.size + 1))
  const values: readonly (() => bigint)[] = [
    () => 0n,
    () => 1n,
    () => mask,
    () => mask >> 1n,
    () => (mask >> 1n) + 1n,
    () => old + 1n,
    () => old - 1n,
    () => old ^ (1n << BigInt(random.below(width * 8))),
    () => old << 1n,
    () => BigInt(random.word()),
    () => (BigInt(random.word()) << 32n) | BigInt(random.word()),
    () => somewhere,
    () => (somewhere / 512n) * 512n,
    () => (somewhere / 65536n) * 65536n,
    () => ((somewhere / 65536n) * 65536n) | (1n << (bits - 1n)),
    () => BigInt(file.size),
    () => BigInt(random.below(64)),
    () => 1n << BigInt(random.below(width * 8)),
  ]
  return random.pick(values)() & mask
}

function copyField(file: PagedFile, fields: readonly Field[], random: Random): string {
  const target = pickField(fields, random)
  const source = random.pick(fields.filter(({ width }) => width === target.width))
  writeField(file, target, readField(file, source))
  return `${target.name} at ${target.offset} becomes ${source.name} at ${source.offset}`
}

function flipBits(file: PagedFile, random: Random): string {
  const offset = place(file, random)
  const byte = new Uint8Array(1)
  file.read(offset, byte)
  byte[0] = (byte[0] as number) ^ (1 << random.below(8))
  file.write(offset, byte)
  return `a bit of byte ${offset} flips`
}

function overwrite(file: PagedFile, random: Random): string {
  const offset = place(file, random)
  const length = Math.min(random.pick([1, 2, 4, 8, 64, 512]), file.size - offset)
  const filler = random.pick([0, 0x7f, 0x80, 0xff, -1])
  file.write(offset, filler < 0 ? random.bytes(length) : new Uint8Array(length).fill(filler))
  return `${length} bytes at ${offset} become ${filler < 0 ? 'random' : filler}`
}

function splice(file: PagedFile, random: Random): string {
  const from = place(file, random)
  const to = place(file, random)
  const buf = new Uint8Array(Math.min(random.pick([8, 64, 512, 4096, 65536]), file.size - Math.max(from, to)))
  file.read(from, buf)
  file.write(to, buf)
  return `${buf.length} bytes at ${from} are copied to ${to}`
}

/** Somewhere in the file, mostly in its first kilobytes. */
function place(file: PagedFile, random: Random): number {
  if (random.chance(0.4)) return random.below(Math.min(1024, file.size))
  return random.below(file.size)
}

function readField(file: PagedFile, { offset, width, littleEndian }: Field): bigint {
  const buf = new Uint8Array(width)
  file.read(offset, buf)
  if (littleEndian) buf.reverse()
  return buf.reduce((value, byte) => (value << 8n) | BigInt(byte), 0n)
}

function writeField(file: PagedFile, { offset, width, littleEndian }: Field, value: bigint): void {
  const buf = new Uint8Array(width)
  for (let i = 0; i < width; i++) buf[width - 1 - i] = Number((value >> BigInt(8 * i)) & 0xffn)
  if (littleEndian) buf.reverse()
  file.write(offset, buf)
}
