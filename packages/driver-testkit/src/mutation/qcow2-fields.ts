/** The fields of qcow2 images, after the specification ("qcow2 specification", docs/interop/qcow2.txt of QEMU). */
import type { Field } from './mutations.ts'

const headerFields: readonly (readonly [name: string, offset: number, width: number])[] = [
  ['magic', 0, 4],
  ['version', 4, 4],
  ['backing_file_offset', 8, 8],
  ['backing_file_size', 16, 4],
  ['cluster_bits', 20, 4],
  ['size', 24, 8],
  ['crypt_method', 32, 4],
  ['l1_size', 36, 4],
  ['l1_table_offset', 40, 8],
  ['refcount_table_offset', 48, 8],
  ['refcount_table_clusters', 56, 4],
  ['nb_snapshots', 60, 4],
  ['snapshots_offset', 64, 8],
  ['incompatible_features', 72, 8],
  ['compatible_features', 80, 8],
  ['autoclear_features', 88, 8],
  ['refcount_order', 96, 4],
  ['header_length', 100, 4],
  ['compression_type', 104, 1],
]

const snapshotFields: readonly (readonly [name: string, offset: number, width: number])[] = [
  ['l1_table_offset', 0, 8],
  ['l1_size', 8, 4],
  ['id_str_size', 12, 2],
  ['name_size', 14, 2],
  ['date_sec', 16, 4],
  ['date_nsec', 20, 4],
  ['vm_clock_nsec', 24, 8],
  ['vm_state_size', 32, 4],
  ['extra_data_size', 36, 4],
]

const bitmapFields: readonly (readonly [name: string, offset: number, width: number])[] = [
  ['bitmap_table_offset', 0, 8],
  ['bitmap_table_size', 8, 4],
  ['flags', 12, 4],
  ['type', 16, 1],
  ['granularity_bits', 17, 1],
  ['name_size', 18, 2],
  ['extra_data_size', 20, 4],
]

const bitmapsExtension = 0x23852875
const offsetMask = 0x00ff_ffff_ffff_fe00n
const mostPerTable = 64

/** All fields of an intact image: header, extensions, L1 and L2 tables, refcounts, snapshot table, bitmaps. */
export function qcow2Fields(image: Uint8Array): Field[] {
  return new FieldFinder(image).all()
}

class FieldFinder {
  readonly #view: DataView
  readonly #fields: Field[] = []
  readonly #clusterSize: number

  constructor(image: Uint8Array) {
    this.#view = new DataView(image.buffer, image.byteOffset, image.byteLength)
    this.#clusterSize = 2 ** this.#u32(20)
  }

  all(): Field[] {
    const version3 = this.#u32(4) >= 3
    const header = headerFields.filter(([, offset]) => version3 || offset < 72)
    for (const [name, offset, width] of header) this.#add(name, offset, width)
    this.#extensions(version3 ? this.#u32(100) : 72)
    this.#table('l1', this.#u64(40), this.#u32(36), (entry, i) => this.#l2(entry, i))
    this.#refcounts()
    this.#snapshots()
    return this.#fields
  }

  #extensions(start: number): void {
    for (let at = start, i = 0; at + 8 <= this.#clusterSize && i < 8; i++) {
      this.#add(`extension ${i} type`, at, 4)
      this.#add(`extension ${i} length`, at + 4, 4)
      const length = this.#u32(at + 4)
      if (this.#u32(at) === 0) break
      if (this.#u32(at) === bitmapsExtension) this.#bitmaps(at + 8)
      at += 8 + Math.ceil(length / 8) * 8
    }
  }

  #bitmaps(extension: number): void {
    this.#add('nb_bitmaps', extension, 4)
    this.#add('bitmap_directory_size', extension + 8, 8)
    this.#add('bitmap_directory_offset', extension + 16, 8)
    let at = this.#u64(extension + 16)
    for (let i = 0; i < this.#u32(extension); i++) {
      for (const [name, offset, width] of bitmapFields) this.#add(`bitmap ${i} ${name}`, at + offset, width)
      this.#table(`bitmap ${i} table`, this.#u64(at), this.#u32(at + 8))
      const length = 24 + this.#view.getUint16(at + 18) + this.#u32(at + 20)
      at += Math.ceil(length / 8) * 8
    }
  }

  #l2(l1Entry: bigint, index: number): void {
    const offset = Number(l1Entry & offsetMask)
    if (offset !== 0) this.#table(`l2 ${index}`, offset, this.#clusterSize / 8)
  }

  #refcounts(): void {
    const entries = (this.#u32(56) * this.#clusterSize) / 8
    this.#table('refcount_table', this.#u64(48), entries, (entry, i) => {
      const offset = Number(entry & offsetMask)
      for (let n = 0; offset !== 0 && n < mostPerTable; n++)
        this.#add(`refcount_block ${i} word ${n}`, offset + n * 2, 2)
    })
  }

  #snapshots(): void {
    let at = this.#u64(64)
    for (let i = 0; i < this.#u32(60); i++) {
      for (const [name, offset, width] of snapshotFields) this.#add(`snapshot ${i} ${name}`, at + offset, width)
      this.#table(`snapshot ${i} l1`, this.#u64(at), this.#u32(at + 8))
      const extra = this.#u32(at + 36)
      for (let n = 0; n + 8 <= extra; n += 8) this.#add(`snapshot ${i} extra ${n}`, at + 40 + n, 8)
      const length = 40 + extra + this.#view.getUint16(at + 12) + this.#view.getUint16(at + 14)
      at += Math.ceil(length / 8) * 8
    }
  }

  #table(name: string, offset: number, entries: number, visit?: (entry: bigint, index: number) => void): void {
    for (let i = 0; i < Math.min(entries, mostPerTable); i++) {
      const at = offset + i * 8
      if (at + 8 > this.#view.byteLength) return
      this.#add(`${name} entry ${i}`, at, 8)
      visit?.(this.#view.getBigUint64(at), i)
    }
  }

  #add(name: string, offset: number, width: number): void {
    if (offset + width <= this.#view.byteLength) this.#fields.push({ name, offset, width })
  }

  #u32(offset: number): number {
    return this.#view.getUint32(offset)
  }

  #u64(offset: number): number {
    return Number(this.#view.getBigUint64(offset))
  }
}
