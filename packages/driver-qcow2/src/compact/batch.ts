/**
 * Moving a number of things at once, in the order that a crash needs:
 *
 *     counts of the new places ─┐
 *     copies ───────────────────┴─flush─▶ pointers ──flush─▶ counts of the old places
 *
 * A new place has as many references from the start as it will have in the end, and an old one keeps its own to the
 * end. So no count is ever below the truth, the copied flags of entries stay right, and each pointer, which is one word
 * of 8 bytes, may lead to the one place or to the other: a crash leaves leaked clusters at worst.
 */
import { forEachLimited } from '@diskgraph/clusters'
import { alignDown, Flag, isZero } from '@diskgraph/core/driver'
import type { ImageEncryption } from '@diskgraph/crypto'
import { highHalf, lowHalf, viewOf } from '../bytes.ts'
import { CryptMethod, entrySize, hiCopied, loOffset } from '../header/layout.ts'
import type { Qcow2State } from '../state.ts'
import { Structure } from '../tables/overlap.ts'
import type { RootTable } from '../tables/root-table.ts'
import { Target } from './pointers.ts'

/** A range of the file that stands elsewhere, too, soon. */
interface Copy {
  readonly from: number
  readonly to: number
  length: number
  /** The guest's: it may be encrypted by where it stands. */
  readonly data: boolean
}

/** A pointer that changes. */
interface Word {
  readonly position: number
  readonly to: number
  readonly kind: number
}

interface Counted {
  readonly cluster: number
  readonly clusters: number
  readonly count: number
}

const longestCopy = 2 ** 20
const copiesAtOnce = 4
const writesAtOnce = 16
/** Bytes of the offset's upper half in an entry that is not compressed. */
const hiOffset = 0x00ffffff

/** See the top of this file. */
export class Batch {
  readonly #state: Qcow2State
  readonly #copies: Copy[] = []
  readonly #words: Word[] = []
  readonly #old: Counted[] = []
  readonly #taken: Counted[] = []
  bytes = 0

  constructor(state: Qcow2State) {
    this.#state = state
  }

  get empty(): boolean {
    return this.#copies.length === 0
  }

  /** Clusters that have been taken for it. */
  took(cluster: number, clusters: number, count: number): void {
    this.#taken.push({ cluster, clusters, count })
  }

  /** Clusters that lose references when it is done. */
  leaves(cluster: number, clusters: number, count: number): void {
    this.#old.push({ cluster, clusters, count })
  }

  copy(from: number, to: number, length: number, kind: number): void {
    const data = kind === Target.data
    const last = this.#copies.at(-1)
    this.bytes += length
    const joins = last !== undefined && last.from + last.length === from && last.to + last.length === to
    if (joins && last.data === data && last.length + length <= longestCopy) last.length += length
    else this.#copies.push({ from, to, length, data })
  }

  /** The word at `position` is to lead to `to`. */
  point(position: number, to: number, kind: number): void {
    this.#words.push({ position, to, kind })
  }

  /** Does it; `change` puts in charge what the header points to. */
  async run(change?: () => Promise<void>): Promise<void> {
    const state = this.#state
    try {
      await state.store.writeRefcounts()
      await forEachLimited(this.#copies, copiesAtOnce, (copy) => this.#make(copy))
      await state.store.flushFile()
    } catch (error) {
      await this.#giveBack()
      throw error
    }
    // From here on both places may be in use: where a write fails, nobody knows which.
    await this.#switch()
    await change?.()
    await state.store.flushFile()
    for (const { cluster, clusters, count } of this.#old) await state.refcounts.update(cluster, clusters, -count)
  }

  async #giveBack(): Promise<void> {
    const { refcounts } = this.#state
    // What cannot be given back is leaked.
    for (const { cluster, clusters, count } of this.#taken) {
      await refcounts.update(cluster, clusters, -count).catch(() => undefined)
    }
  }

  async #make({ from, to, length, data }: Copy): Promise<void> {
    const { file, overlap, cipher, header } = this.#state
    const byPlace = header.value.cryptMethod === CryptMethod.luks
    const refusal = overlap.check(Structure.none, to, length)
    if (refusal !== undefined) await refusal
    const buf = new Uint8Array(length)
    await file.read(from, buf)
    const moved = data && byPlace ? recrypt(cipher!, from, to, buf) : buf
    if (isZero(moved)) await file.writeZeroes(to, length, Flag.MayUnmap)
    else await file.write(to, moved)
  }

  async #switch(): Promise<void> {
    const { store, overlap } = this.#state
    const blocks = new Map<number, Word[]>()
    for (const word of this.#words) {
      const l1Index = indexIn(store.l1, word.position)
      const blockIndex = indexIn(store.refcountTable, word.position)
      if (l1Index >= 0) store.setL1Entry(l1Index, word.to, store.l1.high(l1Index) & hiCopied)
      else if (blockIndex >= 0) store.setRefcountTableEntry(blockIndex, word.to)
      else {
        const block = alignDown(word.position, 512)
        const words = blocks.get(block)
        if (words === undefined) blocks.set(block, [word])
        else words.push(word)
      }
    }
    await forEachLimited([...blocks], writesAtOnce, ([block, words]) => this.#write(block, words))
    store.l2.invalidate()
    overlap.tablesReplaced()
    await store.writeMapping()
    await store.writeRefcounts()
  }

  /** Changes words of one sector. */
  async #write(block: number, words: readonly Word[]): Promise<void> {
    const { file, geometry } = this.#state
    const buf = new Uint8Array(512)
    const view = viewOf(buf)
    await file.read(block, buf)
    const packed = 2 ** (geometry.compressedOffsetBits - 32) - 1
    for (const { position, to, kind } of words) {
      const at = position - block
      const whole = kind === Target.compressed
      const hi = view.getUint32(at) & ~(whole ? packed : hiOffset)
      const lo = whole ? 0 : view.getUint32(at + 4) & ~loOffset
      view.setUint32(at, (hi | highHalf(to)) >>> 0)
      view.setUint32(at + 4, (lo | lowHalf(to)) >>> 0)
    }
    await file.write(block, buf)
  }
}

/** What stands at `from`, encrypted for another place. */
function recrypt(cipher: ImageEncryption, from: number, to: number, buf: Uint8Array): Uint8Array {
  cipher.decrypt(0, from, buf)
  return cipher.encrypt(0, to, buf)
}

/** Which entry of `table` stands at `position` of the file; -1: none. */
function indexIn({ offset, data }: RootTable, position: number): number {
  return position >= offset && position < offset + data.byteLength ? (position - offset) / entrySize : -1
}
