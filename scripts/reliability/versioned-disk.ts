/**
 * A guest that knows what it may find after the power of its server was cut. Each block of 4 KiB counts its versions;
 * a write leaves the number of block and version in every sector, zeroes leave zeroes. What a flush has answered for is
 * durable: later a block may show the last durable version or one that was issued after it, and nothing else; and what
 * was not there once does not come back.
 */
import type { Random } from '@diskgraph/driver-testkit'
import type { NbdClient } from '@diskgraph/nbd'

const blockSize = 4096
const sectorSize = 512

/** See the top of the file. */
export class VersionedDisk {
  readonly size: number
  readonly #durable: Uint32Array
  readonly #acknowledged: Uint32Array
  readonly #issued: Uint32Array
  /** Versions after the durable one, up to this, are gone for ever. */
  readonly #lost: Uint32Array
  /** Versions that are zeroes, as `block * 2 ** 24 + version`; version 0 is one always. */
  readonly #zeroes = new Set<number>()
  writes = 0
  flushes = 0

  /** `size` in bytes, whole blocks. */
  constructor(size: number) {
    this.size = size
    const blocks = size / blockSize
    this.#durable = new Uint32Array(blocks)
    this.#acknowledged = new Uint32Array(blocks)
    this.#issued = new Uint32Array(blocks)
    this.#lost = new Uint32Array(blocks)
  }

  /**
   * Writes, zeroes and flushes with `writers` requests at a time, each in a part of the disk that is its own, until a
   * request fails as the connection is gone.
   */
  async load(client: NbdClient, random: Random, writers: number): Promise<void> {
    const part = this.size / blockSize / writers
    await Promise.all(
      Array.from({ length: writers }, async (_, i) => {
        try {
          for (;;) await this.#request(client, random, i * part, part)
        } catch {}
      }),
    )
  }

  async #request(client: NbdClient, random: Random, first: number, count: number): Promise<void> {
    if (random.below(24) === 0) {
      const acknowledged = this.#acknowledged.slice()
      await client.flush()
      this.flushes++
      for (const [block, version] of acknowledged.entries()) {
        if (version > (this.#durable[block] as number)) this.#durable[block] = version
      }
      return
    }
    const blocks = 1 + random.below(random.below(4) === 0 ? 32 : 4)
    const block = first + random.below(count - blocks)
    const zeroes = random.below(6) === 0
    const buf = new Uint8Array(blocks * blockSize)
    const versions = new Uint32Array(blocks)
    for (let i = 0; i < blocks; i++) {
      versions[i] = (this.#issued[block + i] as number) + 1
      this.#issued[block + i] = versions[i] as number
      if (zeroes) this.#zeroes.add(keyOf(block + i, versions[i] as number))
      else fill(buf.subarray(i * blockSize, (i + 1) * blockSize), block + i, versions[i] as number)
    }
    if (zeroes) await client.writeZeroes(block * blockSize, buf.length)
    else await client.write(block * blockSize, buf)
    this.writes++
    this.#acknowledged.set(versions, block)
  }

  /**
   * Holds `content`, which begins at `offset`, against what may be there; tells of the first block that is wrong. What is
   * found is in the file, so that it is durable from now on.
   */
  verify(content: Uint8Array, offset: number): string | undefined {
    for (let at = 0; at < content.length; at += blockSize) {
      const block = (offset + at) / blockSize
      const wrong = this.#verifyBlock(content.subarray(at, at + blockSize), block)
      if (wrong !== undefined) return wrong
    }
    return undefined
  }

  #verifyBlock(content: Uint8Array, block: number): string | undefined {
    const issued = this.#issued[block] as number
    let oldest = issued
    let newest = 0
    for (let at = 0; at < blockSize; at += sectorSize) {
      const found = this.#versionOf(content.subarray(at, at + sectorSize), block)
      if (found === undefined) {
        const start = Buffer.from(content.subarray(at, at + 16)).toString('hex')
        return `block ${block}, sector ${at / sectorSize}: neither version ${this.#durable[block]}, which was flushed, nor one of ${(this.#lost[block] as number) + 1} to ${issued}: ${start}…`
      }
      oldest = Math.min(oldest, found)
      newest = Math.max(newest, found)
    }
    this.#durable[block] = oldest
    this.#acknowledged[block] = oldest
    // A block that was torn may show several.
    this.#lost[block] = oldest === newest ? issued : 0
    return undefined
  }

  /** The oldest version that a sector can be. */
  #versionOf(sector: Uint8Array, block: number): number | undefined {
    const durable = this.#durable[block] as number
    const issued = this.#issued[block] as number
    const lost = this.#lost[block] as number
    if (sector.every((byte) => byte === 0)) {
      if (this.#isZeroes(block, durable)) return durable
      for (let version = Math.max(durable, lost) + 1; version <= issued; version++) {
        if (this.#isZeroes(block, version)) return version
      }
      return undefined
    }
    const view = new DataView(sector.buffer, sector.byteOffset, sector.length)
    const version = view.getUint32(4)
    for (let at = 0; at < sectorSize; at += 8) {
      if (view.getUint32(at) !== block + 1 || view.getUint32(at + 4) !== version) return undefined
    }
    const possible = version === durable || (version > Math.max(durable, lost) && version <= issued)
    return possible && !this.#isZeroes(block, version) ? version : undefined
  }

  #isZeroes(block: number, version: number): boolean {
    return version === 0 || this.#zeroes.has(keyOf(block, version))
  }
}

function keyOf(block: number, version: number): number {
  return block * 2 ** 24 + version
}

function fill(buf: Uint8Array, block: number, version: number): void {
  const view = new DataView(buf.buffer, buf.byteOffset, buf.length)
  for (let at = 0; at < buf.length; at += 8) {
    view.setUint32(at, block + 1)
    view.setUint32(at + 4, version)
  }
}
