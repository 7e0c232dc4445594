/**
 * The header of LUKS2 (LUKS2 On-Disk Format Specification 1.1.1, section 2 and 3; numbers are big-endian):
 *
 *     first copy: 4096 bytes, JSON     second copy: 4096 bytes, JSON     key material     data
 *     0 magic │ 6 version │ 8 bytes of the copy │ 16 sequence number │ 72 name of the checksum │ 168 UUID
 *     256 where the copy stands │ 448 checksum of all of the copy, with itself as zeroes
 *
 * The copy that is whole and has the higher number counts. In the JSON, numbers above 2^53 are texts.
 */
import { BlockError } from '@diskgraph/core/driver'
import { type CipherSpec, keySizeOf, parseCipherSpec, parseHash } from './cipher-spec.ts'
import type { HeaderStorage } from './key-slots.ts'
import { stripes } from './luks1-header.ts'
import { digestSizes, type HashAlgorithm, type Platform } from './platform.ts'

/** How a password becomes a key. */
export type Luks2Kdf =
  | { readonly type: 'pbkdf2'; readonly salt: Uint8Array; readonly hash: HashAlgorithm; readonly iterations: number }
  | {
      readonly type: 'argon2i' | 'argon2id'
      readonly salt: Uint8Array
      readonly passes: number
      /** KiB. */
      readonly memory: number
      readonly lanes: number
    }

/** A place for the key. */
export interface Luks2Slot {
  readonly id: string
  readonly kdf: Luks2Kdf
  /** Bytes of the volume's key. */
  readonly keySize: number
  /** The hash by which its stripes are mixed. */
  readonly hash: HashAlgorithm
  /** How the stripes are encrypted, and where they stand. */
  readonly cipher: CipherSpec
  readonly offset: number
}

/** What a header says of the volume. */
export interface Luks2Header {
  readonly uuid: string
  readonly slots: readonly Luks2Slot[]
  readonly digest: {
    readonly hash: HashAlgorithm
    readonly iterations: number
    readonly salt: Uint8Array
    readonly value: Uint8Array
  }
  readonly segment: {
    /** Where the data begins, in bytes. */
    readonly offset: number
    /** Bytes of data; undefined: all that follows. */
    readonly size: number | undefined
    readonly cipher: CipherSpec
    readonly sectorSize: number
    /** The number of the first sector of 512 bytes, by which it is encrypted. */
    readonly firstSector: number
  }
}

const binarySize = 4096
const magics = ['LUKS\xba\xbe', 'SKUL\xba\xbe'] as const
/** Where the second copy may stand: behind a first one of any size that there is. */
const copySizes = [0x4000, 0x8000, 0x10000, 0x20000, 0x40000, 0x80000, 0x100000, 0x200000, 0x400000]
const Field = { version: 6, size: 8, sequence: 16, checksumName: 72, uuid: 168, offset: 256, checksum: 448 } as const
const checksumSize = 64

interface Copy {
  readonly sequence: bigint
  readonly uuid: string
  readonly json: string
}

/** Reads the copy of the header that counts. EINVAL when none is whole, ENOTSUP for what is not known. */
export async function readLuks2Header(platform: Platform, storage: Pick<HeaderStorage, 'read'>): Promise<Luks2Header> {
  const first = await readCopy(platform, storage, 0, magics[0])
  let best = first
  for (const offset of copySizes) {
    const copy = await readCopy(platform, storage, offset, magics[1])
    if (copy !== undefined && (best === undefined || copy.sequence > best.sequence)) best = copy
    if (copy !== undefined) break
  }
  if (best === undefined) throw damaged('neither copy of it is whole')
  return parse(best)
}

async function readCopy(
  platform: Platform,
  storage: Pick<HeaderStorage, 'read'>,
  offset: number,
  magic: string,
): Promise<Copy | undefined> {
  const head = new Uint8Array(binarySize)
  await storage.read(offset, head)
  const view = new DataView(head.buffer)
  const size = Number(view.getBigUint64(Field.size))
  const isOne = text(head, 0, 6) === magic && view.getUint16(Field.version) === 2
  if (!isOne || !copySizes.includes(size) || Number(view.getBigUint64(Field.offset)) !== offset) return undefined
  const bytes = new Uint8Array(size)
  await storage.read(offset, bytes)
  const checksum = bytes.slice(Field.checksum, Field.checksum + checksumSize)
  bytes.fill(0, Field.checksum, Field.checksum + checksumSize)
  const name = text(head, Field.checksumName, 32)
  if (!Object.hasOwn(digestSizes, name)) return undefined
  const digest = platform.digest(name as HashAlgorithm, bytes)
  if (!digest.every((byte, i) => byte === checksum[i])) return undefined
  const end = bytes.indexOf(0, binarySize)
  const json = new TextDecoder().decode(bytes.subarray(binarySize, end < 0 ? size : end))
  return { sequence: view.getBigUint64(Field.sequence), uuid: text(head, Field.uuid, 40), json }
}

/** A text that ends with a zero; nothing in it may write over a terminal. */
function text(bytes: Uint8Array, offset: number, length: number): string {
  const field = bytes.subarray(offset, offset + length)
  const end = field.indexOf(0)
  const shown = String.fromCharCode(...field.subarray(0, end < 0 ? length : end))
  return offset === 0 ? shown : shown.replace(/[^ -~]/g, '?')
}

function parse({ uuid, json }: Copy): Luks2Header {
  let all: Json
  try {
    all = new Json(JSON.parse(json), 'the metadata')
  } catch (cause) {
    throw damaged('its metadata are no JSON', cause)
  }
  const mandatory = all.get('config')?.get('requirements')?.get('mandatory')
  const required = mandatory?.items() ?? []
  if (required.length > 0) {
    const name = String(required[0]?.value)
      .replace(/[^ -~]/g, '?')
      .slice(0, 80)
    throw new BlockError('ENOTSUP', `the volume needs what is not known, '${name}'`, {
      hint: 'a reencryption may be under way: finish it with cryptsetup',
    })
  }
  const [segmentId, segment] = onlySegment(all)
  const digest = digestOf(all, segmentId)
  const ids = digest.need('keyslots').items()
  const keyslots = all.need('keyslots')
  const slots = ids.map((id) => slotOf(String(id.value), keyslots.need(String(id.value))))
  return {
    uuid,
    slots,
    segment,
    digest: {
      hash: parseHash(digest.need('hash').text()),
      iterations: digest.need('iterations').count(),
      salt: digest.need('salt').bytes(),
      value: digest.need('digest').bytes(),
    },
  }
}

/** The segment with the data: there is one, besides those that a reencryption keeps for itself. */
function onlySegment(all: Json): readonly [string, Luks2Header['segment']] {
  const segments = all.need('segments').members()
  const [first] = segments
  if (first === undefined || segments.length > 1) {
    throw new BlockError('ENOTSUP', `the volume has ${segments.length} segments, where one is read`)
  }
  const [id, segment] = first
  const type = segment.need('type').text()
  if (type !== 'crypt' || segment.get('integrity') !== undefined) {
    throw new BlockError(
      'ENOTSUP',
      `a segment of type '${type}'${type === 'crypt' ? ' with integrity' : ''} is not read`,
    )
  }
  const sectorSize = segment.need('sector_size').count()
  if (![512, 1024, 2048, 4096].includes(sectorSize)) throw damaged(`its sectors have ${sectorSize} bytes`)
  const size = segment.need('size')
  const keySize = digestKeySize(all)
  return [
    id,
    {
      offset: segment.need('offset').count(),
      size: size.value === 'dynamic' ? undefined : size.count(),
      cipher: cipherOf(segment.need('encryption').text(), keySize),
      sectorSize,
      firstSector: segment.need('iv_tweak').count(),
    },
  ]
}

/** Bytes of the key: all slots say the same. */
function digestKeySize(all: Json): number {
  const [first] = all.need('keyslots').members()
  if (first === undefined) throw new BlockError('EINVAL', 'the volume has no key slots: its key is lost')
  return first[1].need('key_size').count()
}

function digestOf(all: Json, segmentId: string): Json {
  for (const [, digest] of all.need('digests').members()) {
    if (
      !digest
        .need('segments')
        .items()
        .some(({ value }) => String(value) === segmentId)
    )
      continue
    const type = digest.need('type').text()
    if (type !== 'pbkdf2') throw new BlockError('ENOTSUP', `a digest of type '${type}' is not known`)
    return digest
  }
  throw damaged('no digest belongs to its segment')
}

function slotOf(id: string, slot: Json): Luks2Slot {
  const keySize = slot.need('key_size').count()
  const type = slot.need('type').text()
  if (type !== 'luks2') throw new BlockError('ENOTSUP', `a key slot of type '${type}' is not known`)
  const af = slot.need('af')
  if (af.need('type').text() !== 'luks1' || af.need('stripes').count() !== stripes) {
    throw damaged(`key slot ${id.slice(0, 8)} has other stripes than there are`)
  }
  const area = slot.need('area')
  const cipher = cipherOf(area.need('encryption').text(), area.need('key_size').count())
  if (keySize === 0 || keySize > 512) throw damaged(`a key is said to have ${keySize} bytes`)
  return {
    id,
    kdf: kdfOf(slot.need('kdf')),
    keySize,
    hash: parseHash(af.need('hash').text()),
    cipher,
    offset: area.need('offset').count(),
  }
}

function kdfOf(kdf: Json): Luks2Kdf {
  const type = kdf.need('type').text()
  const salt = kdf.need('salt').bytes()
  if (type === 'pbkdf2') {
    return { type, salt, hash: parseHash(kdf.need('hash').text()), iterations: kdf.need('iterations').count() }
  }
  if (type !== 'argon2i' && type !== 'argon2id') {
    throw new BlockError('ENOTSUP', `passwords that become keys by '${type}' are not known`)
  }
  const [passes, memory, lanes] = ['time', 'memory', 'cpus'].map((name) => kdf.need(name).count()) as [
    number,
    number,
    number,
  ]
  return { type, salt, passes, memory, lanes }
}

/** `aes-xts-plain64` with a key of so many bytes. */
function cipherOf(encryption: string, keySize: number): CipherSpec {
  const dash = encryption.indexOf('-')
  const [name, mode] = dash < 0 ? [encryption, 'ecb'] : [encryption.slice(0, dash), encryption.slice(dash + 1)]
  const spec = parseCipherSpec(name, mode, keySize)
  if (keySizeOf(spec) !== keySize) throw damaged(`a key for ${encryption} is said to have ${keySize} bytes`)
  return spec
}

/** A value of the metadata, and what it is called in messages. */
class Json {
  readonly value: unknown
  readonly #name: string

  constructor(value: unknown, name: string) {
    this.value = value
    this.#name = name
  }

  get(name: string): Json | undefined {
    const { value } = this
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined
    return new Json((value as Record<string, unknown>)[name], name)
  }

  need(name: string): Json {
    return this.get(name) ?? fail(`${this.#name} lacks '${name.replace(/[^ -~]/g, '?').slice(0, 80)}'`)
  }

  members(): (readonly [string, Json])[] {
    const { value } = this
    if (typeof value !== 'object' || value === null || Array.isArray(value)) fail(`'${this.#name}' is no object`)
    return Object.entries(value as object).map(([name, member]) => [name, new Json(member, name)] as const)
  }

  items(): Json[] {
    if (!Array.isArray(this.value)) fail(`'${this.#name}' is no list`)
    return (this.value as unknown[]).map((item) => new Json(item, this.#name))
  }

  text(): string {
    if (typeof this.value !== 'string') fail(`'${this.#name}' is no text`)
    return (this.value as string).replace(/[^ -~]/g, '?').slice(0, 80)
  }

  /** A number that counts something; large ones are texts. */
  count(): number {
    const { value } = this
    const number = typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value
    if (!Number.isSafeInteger(number) || (number as number) < 0) fail(`'${this.#name}' is no number of its kind`)
    return number as number
  }

  /** What stands there in base64. */
  bytes(): Uint8Array {
    try {
      return Uint8Array.from(atob(this.value as string), (char) => char.charCodeAt(0))
    } catch {
      return fail(`'${this.#name}' is not in base64`)
    }
  }
}

function fail(what: string): never {
  throw damaged(what)
}

function damaged(what: string, cause?: unknown): BlockError {
  return new BlockError('EINVAL', `the LUKS2 header is damaged: ${what}`, { cause })
}
