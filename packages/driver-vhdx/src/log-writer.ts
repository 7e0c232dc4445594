/**
 * Changes of the table of blocks go through the log: a crash leaves the old table or the new one, whatever a sector of the
 * storage is.
 *
 *     entry of the log │ flush │ header: the log counts │ flush │ table │ flush │ header: the log is empty │ flush
 *
 * Each change is an entry at the start of the log, with a GUID of its own, so that older ones never count.
 */
import { alignDown, type ChildHandle } from '@diskgraph/core/driver'
import type { TablePage } from '@diskgraph/sparse'
import { crc32c } from './crc32c.ts'
import { type Headers, logSectors } from './header.ts'
import { LogField, logSector, newGuid, noGuid, putGuid } from './layout.ts'
import { headSectors } from './log.ts'

/** See the top of this file. */
export class LogWriter {
  readonly #file: ChildHandle
  readonly #headers: Headers
  readonly #random: () => number
  #sequence = 0n

  constructor(file: ChildHandle, headers: Headers, random: () => number) {
    this.#file = file
    this.#headers = headers
    this.#random = random
  }

  /** Writes pages. What they point to has been flushed. */
  async write(pages: readonly TablePage[]): Promise<void> {
    const sectors = await this.#sectorsOf(pages)
    const room = logSectors(this.#headers.current)
    let most = room - 1
    while (headSectors(most) + most > room) most--
    for (let at = 0; at < sectors.length; at += most) await this.#writeSome(sectors.slice(at, at + most))
  }

  /** The sectors that pages are parts of, with the rest of each as it is in the file. */
  async #sectorsOf(pages: readonly TablePage[]): Promise<TablePage[]> {
    const sectors = new Map<number, Uint8Array>()
    for (const { offset, bytes } of pages) {
      for (let at = alignDown(offset, logSector); at < offset + bytes.length; at += logSector) {
        let sector = sectors.get(at)
        if (sector === undefined) {
          sector = new Uint8Array(logSector)
          await this.#file.read(at, sector)
          sectors.set(at, sector)
        }
        const from = Math.max(at, offset)
        sector.set(bytes.subarray(from - offset, at + logSector - offset), from - at)
      }
    }
    return [...sectors].map(([offset, bytes]) => ({ offset, bytes }))
  }

  async #writeSome(sectors: readonly TablePage[]): Promise<void> {
    const guid = newGuid(this.#random)
    await this.#file.write(this.#headers.current.logOffset, this.#entry(sectors, guid))
    await this.#file.flush()
    await this.#headers.change({ logGuid: guid })
    for (const { offset, bytes } of sectors) await this.#file.write(offset, bytes)
    await this.#file.flush()
    await this.#headers.change({ logGuid: noGuid })
  }

  #entry(sectors: readonly TablePage[], guid: string): Uint8Array {
    const head = headSectors(sectors.length)
    const entry = new Uint8Array((head + sectors.length) * logSector)
    const view = new DataView(entry.buffer)
    this.#sequence++
    const { size } = this.#file
    entry.set(new TextEncoder().encode('loge'))
    view.setUint32(LogField.length, entry.length, true)
    view.setBigUint64(LogField.sequence, this.#sequence, true)
    view.setUint32(LogField.descriptors, sectors.length, true)
    putGuid(entry, LogField.guid, guid)
    view.setBigUint64(LogField.flushedEnd, BigInt(size), true)
    view.setBigUint64(LogField.lastEnd, BigInt(size), true)
    for (const [i, { offset, bytes }] of sectors.entries()) {
      const at = LogField.headerSize + i * LogField.descriptorSize
      const data = (head + i) * logSector
      entry.set(new TextEncoder().encode('desc'), at)
      entry.set(bytes.subarray(logSector - 4), at + 4)
      entry.set(bytes.subarray(0, 8), at + 8)
      view.setBigUint64(at + 16, BigInt(offset), true)
      view.setBigUint64(at + 24, this.#sequence, true)
      entry.set(bytes, data)
      entry.set(new TextEncoder().encode('data'), data)
      view.setUint32(data + 4, Number(this.#sequence >> 32n), true)
      view.setUint32(data + logSector - 4, Number(this.#sequence & 0xffffffffn), true)
    }
    view.setUint32(LogField.checksum, crc32c(entry, LogField.checksum), true)
    return entry
  }
}
