/**
 * The header of LUKS1 (LUKS1 On-Disk Format Specification 1.2.3, section 2; all numbers big-endian, offsets in sectors):
 *
 *     0 magic │ 6 version │ 8 cipher name │ 40 cipher mode │ 72 hash │ 104 payload │ 108 key bytes
 *     112 digest of the key │ 132 its salt │ 164 its iterations │ 168 UUID │ 208 eight key slots of 48 bytes
 *     slot: 0 active │ 4 iterations │ 8 salt │ 40 key material │ 44 stripes
 */
import { BlockError } from '@diskgraph/core/driver'
import {
  type CipherSpec,
  keySizeOf,
  modeText,
  type NamedCipher,
  nameCipher,
  parseCipherSpec,
  parseHash,
} from './cipher-spec.ts'
import type { HashAlgorithm } from './platform.ts'

export const luks1HeaderSize = 592
export const keySlotCount = 8
/** Stripes of key material; QEMU reads no other number. */
export const stripes = 4000
const sector = 512
const saltSize = 32
export const keyDigestSize = 20
const active = 0x00ac71f3
const inactive = 0x0000dead
const slotsAt = 208
const slotSize = 48
/** Key material begins at multiples of this. */
const materialAlignment = 4096

const magic = [0x4c, 0x55, 0x4b, 0x53, 0xba, 0xbe]

/** One of the places for the key, encrypted with a password. */
export interface KeySlot {
  readonly active: boolean
  readonly iterations: number
  readonly salt: Uint8Array
  /** In bytes. */
  readonly materialOffset: number
}

/** What a header says, which can be told of ciphers and hashes that are not known. */
export interface Luks1Facts {
  readonly cipher: NamedCipher
  readonly hash: string
  /** In bytes. */
  readonly payloadOffset: number
  readonly digest: Uint8Array
  readonly digestSalt: Uint8Array
  readonly digestIterations: number
  readonly uuid: string
  readonly slots: readonly KeySlot[]
}

/** The header of a volume that can be read; see the top of this file. */
export interface Luks1Header extends Luks1Facts {
  readonly cipher: CipherSpec
  readonly hash: HashAlgorithm
}

/** Whether `head` starts as a LUKS header of `version` does. */
export function hasLuksMagic(head: Uint8Array, version: number): boolean {
  return head.length >= 8 && magic.every((byte, i) => head[i] === byte) && head[6] === 0 && head[7] === version
}

/** Parses and checks a header, of which the first {@link luks1HeaderSize} bytes are in `bytes`. EINVAL or ENOTSUP with the reason. */
export function parseLuks1Header(bytes: Uint8Array): Luks1Header {
  const facts = parseLuks1Facts(bytes)
  const [name, mode, hash] = namesIn(bytes)
  return { ...facts, cipher: parseCipherSpec(name, mode, keySizeIn(bytes)), hash: parseHash(hash) }
}

/** As {@link parseLuks1Header}, of any cipher and hash. */
export function parseLuks1Facts(bytes: Uint8Array): Luks1Facts {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length < 8 || magic.some((byte, i) => bytes[i] !== byte)) refuse('Volume is not in LUKS format')
  if (view.getUint16(6) !== 1) {
    throw new BlockError('ENOTSUP', `LUKS version ${view.getUint16(6)} is not supported`)
  }
  if (bytes.length < luks1HeaderSize) refuse('Unable to read LUKS header')
  const [cipherName, cipherMode, hash] = namesIn(bytes)
  const payloadOffset = view.getUint32(104) * sector
  const keySize = keySizeIn(bytes)
  const slots = Array.from({ length: keySlotCount }, (_, i) => parseSlot(bytes, view, i))
  const digestIterations = view.getUint32(164)
  if (digestIterations === 0) refuse('LUKS key iteration count is zero')
  if (payloadOffset < luks1HeaderSize) refuse('LUKS payload is overlapping with the header')
  checkMaterial(slots, keySize, payloadOffset)
  return {
    cipher: nameCipher(cipherName, cipherMode, keySize),
    hash,
    payloadOffset,
    digest: bytes.slice(112, 112 + keyDigestSize),
    digestSalt: bytes.slice(132, 132 + saltSize),
    digestIterations,
    uuid: uuidText(bytes.subarray(168, slotsAt)),
    slots,
  }
}

/** Cipher, mode and hash. */
function namesIn(bytes: Uint8Array): [string, string, string] {
  return [text(bytes, 8, 'cipher name'), text(bytes, 40, 'cipher mode'), text(bytes, 72, 'hash spec')]
}

function keySizeIn(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(108)
}

function text(bytes: Uint8Array, at: number, what: string): string {
  const field = bytes.subarray(at, at + 32)
  const end = field.indexOf(0)
  if (end < 0) refuse(`LUKS header ${what} is not NUL terminated`)
  // Names are shown in messages: nothing in them may write over a terminal.
  return String.fromCharCode(...field.subarray(0, end)).replace(/[^ -~]/g, '?')
}

function uuidText(field: Uint8Array): string {
  const end = field.indexOf(0)
  return String.fromCharCode(...field.subarray(0, end < 0 ? field.length : end)).replace(/[^ -~]/g, '?')
}

function parseSlot(bytes: Uint8Array, view: DataView, index: number): KeySlot {
  const at = slotsAt + index * slotSize
  const state = view.getUint32(at)
  if (state !== active && state !== inactive) refuse(`Keyslot ${index} state (active/disable) is corrupted`)
  const iterations = view.getUint32(at + 4)
  if (state === active && iterations === 0) refuse(`Keyslot ${index} iteration count is zero`)
  const parts = view.getUint32(at + 44)
  if (parts !== stripes) refuse(`Keyslot ${index} is corrupted (stripes ${parts} != ${stripes})`)
  const materialOffset = view.getUint32(at + 40) * sector
  return { active: state === active, iterations, salt: bytes.slice(at + 8, at + 8 + saltSize), materialOffset }
}

function checkMaterial(slots: readonly KeySlot[], keySize: number, payloadOffset: number): void {
  const length = materialSize(keySize)
  for (const [i, { materialOffset: start }] of slots.entries()) {
    if (start < alignedHeader) refuse(`Keyslot ${i} is overlapping with the LUKS header`)
    if (start + length > payloadOffset) refuse(`Keyslot ${i} is overlapping with the encrypted payload`)
    for (const [j, { materialOffset: other }] of slots.entries()) {
      if (j > i && start < other + length && other < start + length) {
        refuse(`Keyslots ${i} and ${j} are overlapping in the header`)
      }
    }
  }
}

const alignedHeader = Math.ceil(luks1HeaderSize / sector) * sector

/** Bytes that the stripes of a key take: whole sectors. */
export function materialSize(keySize: number): number {
  return Math.ceil((keySize * stripes) / sector) * sector
}

/** Bytes in front of the payload of a new volume. */
export function newPayloadOffset(cipher: CipherSpec): number {
  return materialAlignment + keySlotCount * materialStride(cipher)
}

function materialStride(cipher: CipherSpec): number {
  return Math.ceil(materialSize(keySizeOf(cipher)) / materialAlignment) * materialAlignment
}

/** The slots of a new volume, all inactive. */
export function emptySlots(cipher: CipherSpec): KeySlot[] {
  return Array.from({ length: keySlotCount }, (_, i) => inactiveSlot(materialAlignment + i * materialStride(cipher)))
}

/** A slot without a key. */
export function inactiveSlot(materialOffset: number): KeySlot {
  return { active: false, iterations: 0, salt: new Uint8Array(saltSize), materialOffset }
}

/** The {@link luks1HeaderSize} bytes of a header. */
export function serializeLuks1Header(header: Luks1Header): Uint8Array {
  const bytes = new Uint8Array(luks1HeaderSize)
  const view = new DataView(bytes.buffer)
  const put = (value: string, at: number): void => bytes.set(new TextEncoder().encode(value), at)
  bytes.set(magic)
  view.setUint16(6, 1)
  put('aes', 8)
  put(modeText(header.cipher), 40)
  put(header.hash, 72)
  view.setUint32(104, header.payloadOffset / sector)
  view.setUint32(108, keySizeOf(header.cipher))
  bytes.set(header.digest, 112)
  bytes.set(header.digestSalt, 132)
  view.setUint32(164, header.digestIterations)
  put(header.uuid, 168)
  for (const [i, slot] of header.slots.entries()) {
    const at = slotsAt + i * slotSize
    view.setUint32(at, slot.active ? active : inactive)
    view.setUint32(at + 4, slot.iterations)
    bytes.set(slot.salt, at + 8)
    view.setUint32(at + 40, slot.materialOffset / sector)
    view.setUint32(at + 44, stripes)
  }
  return bytes
}

function refuse(message: string): never {
  throw new BlockError('EINVAL', message)
}
