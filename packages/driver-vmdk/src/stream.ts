/**
 * A stream-optimized image in one go, for targets that cannot seek:
 *
 *     header │ descriptor │ grains, and behind those of each table a marker and the table │ marker, directory │ marker, footer │ end
 *
 * The header says that the footer counts, which has the place of the directory. Grains of zeroes are left out.
 */
import { wholeCluster } from '@diskgraph/clusters'
import { zlib } from '@diskgraph/codecs'
import { alignUp, divUp, isZero, type StreamRequest, throwIfAborted } from '@diskgraph/core/driver'
import { neededClusters } from '@diskgraph/sparse'
import { checkSettings, grainSize, headerOf, streamDescriptor } from './create.ts'
import { entrySize, Hosted, Marker, markerSize, NewExtent, rootAtEnd, sectorSize } from './layout.ts'

/** The bytes of a new image; undefined unless it is stream-optimized, and stands on nothing. */
export function streamImage(request: StreamRequest): AsyncIterable<Uint8Array> | undefined {
  const { options } = request
  checkSettings(options)
  if (options.subformat !== 'streamOptimized' || options.backingFile !== undefined) return undefined
  return new ImageStream(request).write()
}

const tableSpan = NewExtent.tableEntries * grainSize
/** Sectors before the first grain. */
const overhead = NewExtent.grainSectors

class ImageStream {
  readonly #request: StreamRequest
  readonly #size: number
  readonly #directory: Uint8Array
  /** Where the next bytes go, in sectors. */
  #sector = overhead

  constructor(request: StreamRequest) {
    this.#request = request
    this.#size = alignUp(request.options.size as number, sectorSize)
    this.#directory = new Uint8Array(alignUp(divUp(this.#size, tableSpan) * entrySize, sectorSize))
  }

  async *write(): AsyncGenerator<Uint8Array> {
    const { options, random } = this.#request
    const head = new Uint8Array(overhead * sectorSize)
    head.set(this.#header(rootAtEnd))
    head.set(streamDescriptor(options, this.#size, random), NewExtent.descriptorOffset * sectorSize)
    yield head
    yield* this.#grains()
    const directory = BigInt(this.#sector + 1)
    yield this.#behindMarker(Marker.directory, this.#directory)
    yield this.#behindMarker(Marker.footer, this.#header(directory))
    yield this.#behindMarker(Marker.end, new Uint8Array(0))
  }

  /** All grains, with their tables. */
  async *#grains(): AsyncGenerator<Uint8Array> {
    const { extents, signal } = this.#request
    const entries = new DataView(this.#directory.buffer)
    let table = new DataView(new ArrayBuffer(NewExtent.tableEntries * entrySize))
    let number = 0
    let used = false
    const endTable = (): Uint8Array => {
      entries.setUint32(number * entrySize, this.#sector + 1, true)
      return this.#behindMarker(Marker.table, new Uint8Array(table.buffer))
    }
    for await (const { start, end } of neededClusters(extents(), grainSize)) {
      for (let at = start; at < end; at += grainSize) {
        throwIfAborted(signal)
        const grain = await this.#grain(at)
        if (grain === undefined) continue
        const next = Math.floor(at / tableSpan)
        if (next !== number) {
          if (used) yield endTable()
          table = new DataView(new ArrayBuffer(NewExtent.tableEntries * entrySize))
          number = next
        }
        used = true
        table.setUint32(((at - number * tableSpan) / grainSize) * entrySize, this.#sector, true)
        this.#sector += grain.length / sectorSize
        yield grain
      }
    }
    if (used) yield endTable()
  }

  /** The grain at `offset` of the disk behind its marker, in whole sectors; undefined for zeroes. */
  async #grain(offset: number): Promise<Uint8Array | undefined> {
    const data = new Uint8Array(Math.min(grainSize, this.#size - offset))
    await this.#request.read(offset, data)
    if (isZero(data)) return undefined
    const deflated = await zlib.deflate(wholeCluster(data, grainSize))
    const bytes = new Uint8Array(alignUp(markerSize + deflated.length, sectorSize))
    const view = new DataView(bytes.buffer)
    view.setBigUint64(0, BigInt(offset / sectorSize), true)
    view.setUint32(8, deflated.length, true)
    bytes.set(deflated, markerSize)
    return bytes
  }

  #behindMarker(type: number, content: Uint8Array): Uint8Array {
    const bytes = new Uint8Array(sectorSize + content.length)
    const view = new DataView(bytes.buffer)
    view.setBigUint64(0, BigInt(content.length / sectorSize), true)
    view.setUint32(markerSize, type, true)
    bytes.set(content, sectorSize)
    this.#sector += bytes.length / sectorSize
    return bytes
  }

  #header(root: bigint): Uint8Array {
    const bytes = headerOf(this.#size, { compressed: true, zeroes: false, overhead, second: 0 })
    new DataView(bytes.buffer).setBigUint64(Hosted.root, root, true)
    return bytes
  }
}
