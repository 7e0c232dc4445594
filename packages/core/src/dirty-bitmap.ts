/**
 * A record of which parts of a node were written, one bit per `granularity` bytes.
 *
 * The granules form a tree: a leaf has 16,384 granules in 512 words, so that a bitmap of which every leaf is partly dirty
 * takes little more than its bits; a node above has one slot for each of 1,024 children, and counts the dirty granules below it. A child that is clean is absent, and one that is wholly dirty is the
 * mark `full`, so that memory is taken by what is partly dirty only: a disk of 8 PiB costs nothing while it is clean, and
 * nothing when all of it is set. Setting, clearing and searching go down one path per end of a range: O(log size), and
 * O(1) for what lies between. Indexes of granules are safe integers; bit operators meet numbers below 16,384 only.
 */
import { div, divUp, isPowerOfTwo, mod } from './bytes.ts'
import { BlockError } from './errors.ts'

const fanOut = 1024
const leafSpan = 16384
const full = 'full'

/** 16,384 granules. */
interface Leaf {
  readonly words: Uint32Array
  count: number
}

/** 1,024 children. */
interface Branch {
  readonly children: (Tree | undefined)[]
  count: number
}

type Tree = Leaf | Branch | typeof full

/** A run of a disk. */
export interface DirtyRange {
  readonly offset: number
  readonly length: number
}

/** Dirty tracking for jobs: every write, zero and discard sets bits; the reader clears them. */
export class DirtyBitmap {
  readonly name: string | undefined
  /** Bytes per bit; a power of two. */
  readonly granularity: number
  /** It records what changes. */
  enabled = true
  /** Records in its place, while a job needs it as it is; see {@link split}. */
  successor: DirtyBitmap | undefined
  /** In use by a job or an export: nobody else may change it. */
  busy = false
  /** The image of its node stores it. */
  persistent = false
  /** The image has one that was not stored after its last use: nobody knows its bits, and it can only be removed. */
  inconsistent = false
  /** Counts changes of bits and of the size: two equal values, and nothing has changed between. */
  changes = 0
  #tree: Tree | undefined
  #size: number
  #total: number
  /** Granules that the tree has room for. */
  #span: number

  constructor(size: number, granularity: number, name?: string) {
    if (!isPowerOfTwo(granularity)) {
      throw new BlockError('EINVAL', `granularity of a bitmap is ${granularity}, which is not a power of two`)
    }
    this.name = name
    this.granularity = granularity
    this.#size = size
    this.#total = divUp(size, granularity)
    this.#span = spanFor(this.#total)
  }

  /** Bytes covered. */
  get size(): number {
    return this.#size
  }

  /** Bytes that are dirty, in whole granules. */
  get dirtyBytes(): number {
    return countOf(this.#tree, this.#span) * this.granularity
  }

  /** Marks what has changed, as {@link set} does, while it records. */
  record(offset: number, length: number): void {
    if (this.enabled && this.successor === undefined) this.set(offset, length)
  }

  /**
   * Keeps its bits as they are until {@link join}, and returns the empty one that records meanwhile, which the caller
   * adds to those of the node.
   */
  split(): DirtyBitmap {
    const successor = new DirtyBitmap(this.#size, this.granularity)
    successor.enabled = this.enabled
    this.successor = successor
    return successor
  }

  /** Takes what was recorded since {@link split}, on top of its own bits (`keep`) or in their place. */
  join(keep: boolean): void {
    const { successor } = this
    if (successor === undefined) return
    this.successor = undefined
    if (!keep) this.clear(0, this.#size)
    this.merge(successor)
  }

  /** Marks a range; partly touched granules count. What lies behind the end of the disk is left out. */
  set(offset: number, length: number): void {
    if (length <= 0) return
    const end = divUp(Math.min(offset + length, this.#size), this.granularity)
    this.#change(div(offset, this.granularity), end, true)
  }

  /** Clears the granules that lie wholly in the range (or reach past the end of the disk). */
  clear(offset: number, length: number): void {
    const end = offset + length >= this.#size ? this.#total : div(offset + length, this.granularity)
    this.#change(divUp(offset, this.granularity), end, false)
  }

  /** Whether the granule at `offset` is dirty. */
  get(offset: number): boolean {
    const index = div(offset, this.granularity)
    return index < this.#total && search(this.#tree, this.#span, index, true) === index
  }

  /** The first dirty run at or after `offset`, at most `maxLength` bytes; undefined when there is none. */
  next(offset: number, maxLength: number = Number.MAX_SAFE_INTEGER): DirtyRange | undefined {
    return this.#run(offset, this.#size, maxLength, true)
  }

  /** The first dirty run that begins at or after `offset` and before `end`, cut there; undefined when there is none. */
  nextDirty(offset: number, end: number = this.#size): DirtyRange | undefined {
    return this.#run(offset, end, Number.MAX_SAFE_INTEGER, true)
  }

  /** The first clean run that begins at or after `offset` and before `end`, cut there; undefined when there is none. */
  nextClean(offset: number, end: number = this.#size): DirtyRange | undefined {
    return this.#run(offset, end, Number.MAX_SAFE_INTEGER, false)
  }

  /** Marks all that `other` has marked, which may have another granularity. EINVAL when the sizes differ. */
  merge(other: DirtyBitmap): void {
    if (other.size !== this.#size) {
      throw new BlockError('EINVAL', `cannot merge bitmaps of ${other.size} and ${this.#size} bytes: the sizes differ`)
    }
    if (other === this) return
    for (let run = other.nextDirty(0); run !== undefined; run = other.nextDirty(run.offset + run.length)) {
      this.#change(div(run.offset, this.granularity), divUp(run.offset + run.length, this.granularity), true)
    }
  }

  /**
   * Fills `bytes` with the bits from granule `first` on (a multiple of 32): the lowest bit of a byte is the first of
   * its eight. Bits behind the end are 0. The length of `bytes` is a multiple of 4.
   */
  readBits(first: number, bytes: Uint8Array): void {
    bytes.fill(0)
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    forEachLeaf(first, Math.min(bytes.byteLength * 8, this.#span - first), (index, at, count) => {
      const leaf = leafAt(this.#tree, this.#span, index)
      if (leaf === full) bytes.fill(0xff, at / 8, (at + count) / 8)
      else if (leaf !== undefined) {
        const from = mod(index, leafSpan) / 32
        for (let i = 0; i < count / 32; i++) view.setUint32(at / 8 + i * 4, leaf.words[from + i] as number, true)
      }
    })
  }

  /** Marks what is set in `bytes`, which are laid out as in {@link readBits}. Bits behind the end are left out. */
  mergeBits(first: number, bytes: Uint8Array): void {
    this.changes++
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    forEachLeaf(first, Math.min(bytes.byteLength * 8, this.#total - first), (index, at, count) => {
      const words = new Uint32Array(Math.ceil(count / 32))
      for (let i = 0; i < words.length; i++) words[i] = view.getUint32(at / 8 + i * 4, true)
      const rest = mod(count, 32)
      if (rest > 0) words[words.length - 1] = (words[words.length - 1] as number) & maskOf(0, rest)
      if (words.some((word) => word !== 0)) this.#tree = withWords(this.#tree, this.#span, index, words)
    })
  }

  /** Follows the node to a new size; new bytes are clean. */
  resize(size: number): void {
    if (size !== this.#size) this.changes++
    const total = divUp(size, this.granularity)
    if (total < this.#total) this.#change(total, this.#total, false)
    while (this.#span < total) {
      const below = this.#tree
      this.#tree = below === undefined ? undefined : branchOver(below, countOf(below, this.#span))
      this.#span *= fanOut
    }
    this.#size = size
    this.#total = total
  }

  #run(offset: number, end: number, maxLength: number, value: boolean): DirtyRange | undefined {
    const limit = Math.min(end, this.#size)
    if (offset >= limit) return undefined
    const first = search(this.#tree, this.#span, div(offset, this.granularity), value)
    const start = value ? first * this.granularity : Math.max(offset, first * this.granularity)
    if (start >= limit) return undefined
    const stop = search(this.#tree, this.#span, first, !value)
    const most = first + Math.max(1, div(maxLength, this.granularity))
    return { offset: start, length: Math.min(Math.min(stop, most) * this.granularity, limit) - start }
  }

  #change(start: number, end: number, value: boolean): void {
    const last = Math.min(end, this.#total)
    if (start >= last) return
    this.changes++
    this.#tree = changed(this.#tree, this.#span, start, last, value)
  }
}

function spanFor(total: number): number {
  let span = leafSpan
  while (span < total) span *= fanOut
  return span
}

function countOf(tree: Tree | undefined, span: number): number {
  if (tree === undefined) return 0
  return tree === full ? span : tree.count
}

/** A branch whose first child is `child`. */
function branchOver(child: Tree, count: number): Branch {
  const children = new Array<Tree | undefined>(fanOut)
  children[0] = child
  return { children, count }
}

/** `tree` of `span` granules with those from `start` to `end` set to `value`; changed in place where there is a place. */
function changed(tree: Tree | undefined, span: number, start: number, end: number, value: boolean): Tree | undefined {
  if (start === 0 && end === span) return value ? full : undefined
  if (tree === (value ? full : undefined)) return tree
  const own = tree === undefined || tree === full ? split(tree, span) : tree
  if ('words' in own) changeWords(own, start, end, value)
  else changeChildren(own, span / fanOut, start, end, value)
  if (own.count === 0) return undefined
  return own.count === span ? full : own
}

/** The same content as a node of its own. */
function split(tree: typeof full | undefined, span: number): Leaf | Branch {
  const count = tree === full ? span : 0
  if (span === leafSpan) return { words: new Uint32Array(leafSpan / 32).fill(tree === full ? 0xffffffff : 0), count }
  return { children: new Array<Tree | undefined>(fanOut).fill(tree), count }
}

function changeChildren(branch: Branch, span: number, start: number, end: number, value: boolean): void {
  for (let index = div(start, span); index * span < end; index++) {
    const from = Math.max(0, start - index * span)
    const to = Math.min(span, end - index * span)
    const child = branch.children[index]
    // Taken before, as a child may be changed in place.
    const before = countOf(child, span)
    const after = changed(child, span, from, to, value)
    branch.children[index] = after
    branch.count += countOf(after, span) - before
  }
}

/** Calls `visit` for each part of `count` granules that stands in one leaf: its first granule, its place, its length. */
function forEachLeaf(first: number, count: number, visit: (index: number, at: number, count: number) => void): void {
  for (let at = 0; at < count; ) {
    const length = Math.min(leafSpan - mod(first + at, leafSpan), count - at)
    visit(first + at, at, length)
    at += length
  }
}

/** The leaf that has granule `index`, or what stands for it. */
function leafAt(tree: Tree | undefined, span: number, index: number): Leaf | typeof full | undefined {
  if (tree === undefined || tree === full || 'words' in tree) return tree
  const childSpan = span / fanOut
  return leafAt(tree.children[div(index, childSpan)], childSpan, mod(index, childSpan))
}

/** `tree` with the bits of `words` set from granule `index` on; all of them stand in one leaf. */
function withWords(tree: Tree | undefined, span: number, index: number, words: Uint32Array): Tree {
  if (tree === full) return full
  const own = tree ?? split(undefined, span)
  if ('words' in own) {
    words.forEach((word, i) => {
      const before = own.words[index / 32 + i] as number
      const after = (before | word) >>> 0
      own.words[index / 32 + i] = after
      own.count += ones(after) - ones(before)
    })
  } else {
    const childSpan = span / fanOut
    const at = div(index, childSpan)
    const before = countOf(own.children[at], childSpan)
    const child = withWords(own.children[at], childSpan, mod(index, childSpan), words)
    own.children[at] = child
    own.count += countOf(child, childSpan) - before
  }
  return own.count === span ? full : own
}

function changeWords(leaf: Leaf, start: number, end: number, value: boolean): void {
  for (let at = start; at < end; ) {
    const word = at >>> 5
    const stop = Math.min(end, (word + 1) * 32)
    const mask = maskOf(at & 31, stop - at)
    const before = leaf.words[word] as number
    const after = (value ? before | mask : before & ~mask) >>> 0
    leaf.words[word] = after
    leaf.count += ones(after) - ones(before)
    at = stop
  }
}

/** `length` bits (1 to 32) from bit `start` on. */
function maskOf(start: number, length: number): number {
  return length === 32 ? 0xffffffff : ((1 << length) - 1) << start
}

/** How many bits of `word` are set. */
function ones(word: number): number {
  const pairs = word - ((word >>> 1) & 0x55555555)
  const nibbles = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333)
  return Math.imul((nibbles + (nibbles >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24
}

/** The first granule at or after `from` that is `value`; infinity where there is none. */
function search(tree: Tree | undefined, span: number, from: number, value: boolean): number {
  if (from >= span) return value ? Number.POSITIVE_INFINITY : from
  if (tree === undefined) return value ? Number.POSITIVE_INFINITY : from
  if (tree === full) return value ? from : Number.POSITIVE_INFINITY
  if ('words' in tree) return searchWords(tree.words, from, value)
  const childSpan = span / fanOut
  const first = div(from, childSpan)
  for (let index = first; index < fanOut; index++) {
    const within = index === first ? mod(from, childSpan) : 0
    const found = search(tree.children[index], childSpan, within, value)
    if (found !== Number.POSITIVE_INFINITY) return index * childSpan + found
  }
  return Number.POSITIVE_INFINITY
}

function searchWords(words: Uint32Array, from: number, value: boolean): number {
  for (let word = from >>> 5; word < words.length; word++) {
    const bits = value ? (words[word] as number) : ~(words[word] as number)
    const rest = word === from >>> 5 ? bits & (0xffffffff << (from & 31)) : bits
    if (rest !== 0) return word * 32 + 31 - Math.clz32(rest & -rest)
  }
  return Number.POSITIVE_INFINITY
}
