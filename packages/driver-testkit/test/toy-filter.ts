/**
 * A filter over one file, with switches that make it wrong. With one of them it keeps clusters of 4 KiB in slots of its
 * own choice: a cluster that is written whole goes to a free slot, and its old slot is free at once, whoever reads it.
 */
import { BlockError, type DriverDescriptor, type TruncateOptions } from '@diskgraph/core'
import type { ChildHandle, OpenImage } from '@diskgraph/core/driver'

export type FilterMistake =
  | 'none'
  | 'reuses-under-readers'
  | 'grows-before-storage'
  | 'acknowledges-early'
  | 'stays-locked'
  | 'forgets-neighbours'
  | 'dies-when-full'
  | 'hides-full'
  | 'odd-info'
  | 'ignores-shrink'

const unit = 4096

class ToyFilter implements OpenImage {
  readonly #file: ChildHandle
  readonly #mistake: FilterMistake
  readonly #slots = new Map<number, number>()
  readonly #free: number[] = []
  #size: number
  #locked = false
  #dead = false

  constructor(file: ChildHandle, mistake: FilterMistake) {
    this.#file = file
    this.#mistake = mistake
    this.#size = file.size
    if (mistake !== 'reuses-under-readers') return
    const slots = Math.floor(file.size / unit)
    this.#size = (slots - 2) * unit
    this.#free.push(slots - 1, slots - 2)
  }

  get size(): number {
    return this.#size
  }

  async read(offset: number, buf: Uint8Array): Promise<void> {
    if (this.#mistake !== 'reuses-under-readers') return this.#file.read(offset, buf)
    for (let at = 0; at < buf.length; ) {
      const index = Math.floor((offset + at) / unit)
      const within = (offset + at) % unit
      const length = Math.min(unit - within, buf.length - at)
      await this.#file.read(this.#slot(index) * unit + within, buf.subarray(at, at + length))
      at += length
    }
  }

  async write(offset: number, buf: Uint8Array): Promise<void> {
    switch (this.#mistake) {
      case 'reuses-under-readers':
        return this.#writeElsewhere(offset, buf)
      case 'acknowledges-early':
        this.#writeLater(offset, buf.slice())
        return
      case 'stays-locked':
        return this.#writeLocked(offset, buf)
      case 'forgets-neighbours':
        return this.#writeWide(offset, buf)
      case 'dies-when-full':
        return this.#writeOrDie(offset, buf)
      case 'hides-full':
        return this.#file.write(offset, buf).catch((error: BlockError) => {
          if (error.code !== 'ENOSPC') throw error
        })
      default:
        return this.#file.write(offset, buf)
    }
  }

  async truncate(size: number, options: TruncateOptions, signal?: AbortSignal): Promise<void> {
    if (this.#mistake === 'ignores-shrink' && size < this.#size) return
    if (this.#mistake === 'grows-before-storage') this.#size = size
    await this.#file.truncate(size, options, signal)
    this.#size = size
  }

  async info() {
    return this.#mistake === 'odd-info' ? ({ specific: new Map([['a', 1]]) } as never) : { clusterSize: unit }
  }

  #slot(index: number): number {
    return this.#slots.get(index) ?? index
  }

  async #writeElsewhere(offset: number, buf: Uint8Array): Promise<void> {
    for (let at = 0; at < buf.length; ) {
      const index = Math.floor((offset + at) / unit)
      const within = (offset + at) % unit
      const length = Math.min(unit - within, buf.length - at)
      const old = this.#slot(index)
      const fresh = length === unit ? this.#free.pop() : undefined
      await this.#file.write((fresh ?? old) * unit + within, buf.subarray(at, at + length))
      if (fresh !== undefined) {
        this.#slots.set(index, fresh)
        this.#free.push(old)
      }
      at += length
    }
  }

  #writeLater(offset: number, data: Uint8Array): void {
    setImmediate(() => void this.#file.write(offset, data).catch(() => undefined))
  }

  async #writeLocked(offset: number, buf: Uint8Array): Promise<void> {
    while (this.#locked) await new Promise((resolve) => setImmediate(resolve))
    this.#locked = true
    const written = this.#file.write(offset, buf)
    await written.finally(() => {
      this.#locked = false
    })
  }

  /** Widens to the blocks of the storage by itself, with zeroes. */
  #writeWide(offset: number, buf: Uint8Array): Promise<void> {
    const { alignment } = this.#file.limits
    if (alignment === 1) return this.#file.write(offset, buf)
    const head = offset % alignment
    const wide = new Uint8Array(Math.ceil((head + buf.length) / alignment) * alignment)
    wide.set(buf, head)
    return this.#file.write(offset - head, wide)
  }

  async #writeOrDie(offset: number, buf: Uint8Array): Promise<void> {
    if (this.#dead) throw new BlockError('ENOSPC', 'it was full once')
    try {
      await this.#file.write(offset, buf)
    } catch (error) {
      this.#dead = true
      throw error
    }
  }
}

/** The driver `toy-filter`, with one mistake or none. */
export function toyFilter(mistake: FilterMistake = 'none'): DriverDescriptor {
  return {
    name: 'toy-filter',
    kind: 'filter',
    description: 'A filter for the tests of the kit.',
    options: { file: { type: 'child', role: 'filtered', required: true, description: 'What it shows' } },
    open: async ({ children }) => new ToyFilter(children.require('file'), mistake),
  }
}
