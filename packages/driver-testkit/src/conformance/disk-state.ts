/** What a disk may hold at one moment, as far as an order of operations decides it. */

/** See the top of the file. Immutable: operations make new ones. */
export class DiskState {
  readonly bytes: Uint8Array
  /** What each byte may be instead: a discarded one stays or is zero. */
  readonly others: Uint8Array
  readonly snapshots: ReadonlyMap<string, DiskState>
  /** The handle is closed: the content stays, requests are refused. */
  readonly closed: boolean

  constructor(
    bytes: Uint8Array,
    others: Uint8Array = bytes,
    snapshots: ReadonlyMap<string, DiskState> = new Map(),
    closed = false,
  ) {
    this.bytes = bytes
    this.others = others
    this.snapshots = snapshots
    this.closed = closed
  }

  get size(): number {
    return this.bytes.length
  }

  /** With `data` at `offset`. */
  written(offset: number, data: Uint8Array): DiskState {
    return this.#changed((bytes) => bytes.set(data, offset), true)
  }

  /** With a range that reads as before or as zeroes. */
  discarded(offset: number, length: number): DiskState {
    return this.#changed((bytes) => bytes.fill(0, offset, offset + length), false)
  }

  /** With another size; what is new reads as zeroes. */
  resized(size: number): DiskState {
    const resize = (old: Uint8Array): Uint8Array => {
      const bytes = new Uint8Array(size)
      bytes.set(old.subarray(0, size))
      return bytes
    }
    return new DiskState(resize(this.bytes), resize(this.others), this.snapshots, this.closed)
  }

  withSnapshots(snapshots: ReadonlyMap<string, DiskState>): DiskState {
    return new DiskState(this.bytes, this.others, snapshots, this.closed)
  }

  /** With the content of `other`, and these snapshots. */
  showing(other: DiskState): DiskState {
    return new DiskState(other.bytes, other.others, this.snapshots, this.closed)
  }

  atClose(): DiskState {
    return new DiskState(this.bytes, this.others, this.snapshots, true)
  }

  /** With the bytes that the disk was seen to have. */
  settled(bytes: Uint8Array): DiskState {
    return new DiskState(bytes, bytes, this.snapshots, this.closed)
  }

  /** Whether a byte may be `value`. */
  allows(at: number, value: number): boolean {
    return this.bytes[at] === value || this.others[at] === value
  }

  /** What is wrong with `bytes` as the whole content; undefined if nothing is. */
  faultOf(bytes: Uint8Array): string | undefined {
    if (bytes.length !== this.size) return `the size is ${bytes.length} instead of ${this.size}`
    for (let at = 0; at < bytes.length; at++) {
      if (bytes[at] !== this.bytes[at] && bytes[at] !== this.others[at]) {
        return `byte ${at} is ${bytes[at]} instead of ${this.bytes[at]}`
      }
    }
    return undefined
  }

  #changed(change: (bytes: Uint8Array) => void, certain: boolean): DiskState {
    const others = this.others.slice()
    change(others)
    if (!certain) return new DiskState(this.bytes, others, this.snapshots, this.closed)
    const bytes = this.bytes.slice()
    change(bytes)
    return new DiskState(bytes, others, this.snapshots, this.closed)
  }
}
