/** Images damaged byte by byte, for tests of check and repair. */
import { closeSync, openSync, readSync, truncateSync, writeSync } from 'node:fs'
import { run } from './images.ts'

/** A qcow2 image on disk whose fields can be read and set. */
export class Patient {
  readonly path: string

  constructor(path: string) {
    this.path = path
  }

  get(offset: number, bytes = 8): bigint {
    const fd = openSync(this.path, 'r')
    try {
      const buf = Buffer.alloc(bytes)
      readSync(fd, buf, 0, bytes, offset)
      return buf.reduce((value, byte) => (value << 8n) | BigInt(byte), 0n)
    } finally {
      closeSync(fd)
    }
  }

  set(offset: number, value: bigint | number, bytes = 8): void {
    const fd = openSync(this.path, 'r+')
    try {
      const buf = Buffer.alloc(bytes)
      let rest = BigInt.asUintN(bytes * 8, BigInt(value))
      for (let i = bytes - 1; i >= 0; i--, rest >>= 8n) buf[i] = Number(rest & 0xffn)
      writeSync(fd, buf, 0, bytes, offset)
    } finally {
      closeSync(fd)
    }
  }

  cut(size: number): void {
    truncateSync(this.path, size)
  }

  get l1(): number {
    return Number(this.get(40))
  }

  get refcountTable(): number {
    return Number(this.get(48))
  }

  get snapshotTable(): number {
    return Number(this.get(64))
  }

  /** Offset of the first refcount block. */
  get refcountBlock(): number {
    return Number(this.get(this.refcountTable))
  }

  /** Offset of the first L2 table. */
  get l2(): number {
    return Number(this.get(this.l1) & 0xfffffffffffe00n)
  }
}

/** One way of damaging an image with four clusters of data at the start of its disk (64 KiB clusters). */
export interface Damage {
  readonly name: string
  /** Create options of qemu-img. */
  readonly options?: string
  /** Two snapshots are made first, with a write between them. */
  readonly snapshots?: boolean
  harm(image: Patient): void
}

const copied = 1n << 63n
const compressed = 1n << 62n

/** Changes an L2 entry. */
function entry(index: number, change: (old: bigint) => bigint): (image: Patient) => void {
  return (image) => image.set(image.l2 + index * 8, change(image.get(image.l2 + index * 8)))
}

/** What a crash leaves of an image with lazy refcounts. */
export function leaveDirty(image: Patient): void {
  image.set(72, 1)
  image.set(image.refcountBlock + 10, 0, 2)
}

/** All ways. */
export const damages: readonly Damage[] = [
  { name: 'nothing', harm: () => {} },
  { name: 'a count that is too high', harm: (i) => i.set(i.refcountBlock + 10, 2, 2) },
  {
    name: 'a count of a cluster that nobody uses',
    harm: (i) => {
      i.cut(20 * 65536)
      i.set(i.refcountBlock + 30, 1, 2)
    },
  },
  { name: 'counts behind the end of the file', harm: (i) => i.set(i.refcountBlock + 40, 1, 2) },
  { name: 'a count of 0 for data', harm: (i) => i.set(i.refcountBlock + 10, 0, 2) },
  { name: 'a count of 0 for the header', harm: (i) => i.set(i.refcountBlock, 0, 2) },
  { name: 'a count of 3 for the header', harm: (i) => i.set(i.refcountBlock, 3, 2) },
  { name: 'a data entry without its copied flag', harm: entry(0, (old) => old & ~copied) },
  { name: 'an L1 entry without its copied flag', harm: (i) => i.set(i.l1, i.get(i.l1) & ~copied) },
  { name: 'two entries for one cluster', harm: (i) => i.set(i.l2 + 8, i.get(i.l2)) },
  { name: 'a zero entry that shares a cluster', harm: (i) => i.set(i.l2 + 8, i.get(i.l2) | 1n) },
  { name: 'a data entry that is not aligned', harm: entry(1, (old) => old + 512n) },
  { name: 'a zero entry that is not aligned', harm: entry(1, (old) => old + 513n) },
  { name: 'an L2 entry with reserved bits', harm: entry(1, (old) => old | 2n) },
  { name: 'an L2 entry of nothing but reserved bits', harm: entry(20, () => 1n << 56n) },
  { name: 'an L2 entry of nothing but the copied flag', harm: entry(20, () => copied) },
  { name: 'an L1 entry with reserved bits', harm: (i) => i.set(i.l1, i.get(i.l1) | 2n) },
  { name: 'an L1 entry that is not aligned', harm: (i) => i.set(i.l1, i.get(i.l1) + 512n) },
  { name: 'a data entry far behind the file', harm: entry(1, () => copied | (1n << 40n)) },
  { name: 'a data entry at 2^55', harm: entry(1, () => copied | (1n << 55n)) },
  { name: 'an L2 table behind the file', harm: (i) => i.set(i.l1, copied | 0x1000000n) },
  { name: 'an L1 table behind the file', harm: (i) => i.set(40, 0x1000000) },
  { name: 'a compressed entry with the copied flag', harm: entry(2, () => copied | compressed | 0x50000n) },
  { name: 'a compressed entry behind the file', harm: entry(10, () => compressed | 0x1000000n) },
  { name: 'a compressed entry across the end of the file', harm: entry(10, () => compressed | 0x8fe00n | (3n << 54n)) },
  {
    name: 'a refcount table entry with reserved bits',
    harm: (i) => i.set(i.refcountTable, i.get(i.refcountTable) | 1n),
  },
  { name: 'a refcount block that is not aligned', harm: (i) => i.set(i.refcountTable, i.get(i.refcountTable) + 512n) },
  { name: 'a refcount block behind the file', harm: (i) => i.set(i.refcountTable, 0x1000000) },
  { name: 'a second refcount block behind the file', harm: (i) => i.set(i.refcountTable + 8, 0x1000000) },
  { name: 'a refcount block at 2^62', harm: (i) => i.set(i.refcountTable + 800, 1n << 62n) },
  { name: 'no refcount block', harm: (i) => i.set(i.refcountTable, 0) },
  { name: 'a refcount block that is data', harm: (i) => i.set(i.refcountTable, 0x50000) },
  { name: 'a second refcount block that is data', harm: (i) => i.set(i.refcountTable + 8, 0x50000) },
  { name: 'one refcount block twice', harm: (i) => i.set(i.refcountTable + 8, i.refcountBlock) },
  { name: 'a refcount table behind the file', harm: (i) => i.set(48, 0x1000000) },
  { name: 'a refcount table that is data', harm: (i) => i.set(48, 0x50000) },
  { name: 'a file cut in its data', harm: (i) => i.cut(393216) },
  { name: 'a file cut before its L2 table', harm: (i) => i.cut(196608) },
  { name: 'one-bit counts that overflow', options: 'refcount_bits=1', harm: (i) => i.set(i.l2 + 8, i.get(i.l2)) },
  {
    name: 'a 64-bit count that is huge',
    options: 'refcount_bits=64',
    harm: (i) => i.set(i.refcountBlock + 40, copied | 1n),
  },
  { name: 'the dirty bit', harm: (i) => i.set(72, 1) },
  { name: 'the corrupt bit', harm: (i) => i.set(72, 2) },
  { name: 'the dirty bit and a count of 0', harm: leaveDirty },
  {
    name: 'the corrupt bit and a leak',
    harm: (i) => {
      i.set(72, 2)
      i.set(i.refcountBlock + 10, 2, 2)
    },
  },
  { name: 'a zero flag in version 2', options: 'compat=0.10', harm: entry(20, () => 1n) },
  { name: 'snapshots', snapshots: true, harm: () => {} },
  { name: 'a snapshot that is lost', snapshots: true, harm: (i) => i.set(60, 1, 4) },
  {
    name: 'a snapshot whose L1 table is not aligned',
    snapshots: true,
    harm: (i) => i.set(i.snapshotTable, i.get(i.snapshotTable) + 512n),
  },
  {
    name: 'a snapshot whose L1 table is behind the file',
    snapshots: true,
    harm: (i) => i.set(i.snapshotTable, 0x10000000),
  },
  {
    name: 'a snapshot whose L1 table is too large',
    snapshots: true,
    harm: (i) => i.set(i.snapshotTable + 8, 0x10000000, 4),
  },
  {
    name: 'a snapshot whose L1 table is larger than the active one',
    snapshots: true,
    harm: (i) => i.set(i.snapshotTable + 8, 0x1000, 4),
  },
  { name: 'snapshots that are incomplete', snapshots: true, harm: (i) => i.set(60, 20, 4) },
  { name: 'a snapshot with too much extra data', snapshots: true, harm: (i) => i.set(i.snapshotTable + 36, 0x1000, 4) },
  { name: 'a snapshot table behind the file', snapshots: true, harm: (i) => i.set(64, 0x10000000) },
  { name: 'a snapshot table that is not aligned', snapshots: true, harm: (i) => i.set(64, i.snapshotTable + 512) },
]

/** Makes the image of a damage with the real qemu-img. */
export function makePatient(path: string, damage: Damage): Patient {
  const options = damage.options === undefined ? [] : ['-o', damage.options]
  run('qemu-img', 'create', '-q', '-f', 'qcow2', ...options, path, '1M')
  run('qemu-io', '-f', 'qcow2', '-c', 'write -P 1 0 256k', path)
  if (damage.snapshots === true) {
    run('qemu-img', 'snapshot', '-c', 'one', path)
    run('qemu-io', '-f', 'qcow2', '-c', 'write -P 2 64k 64k', path)
    run('qemu-img', 'snapshot', '-c', 'two', path)
  }
  const patient = new Patient(path)
  damage.harm(patient)
  return patient
}
