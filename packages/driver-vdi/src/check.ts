/** Checking and repairing. What QEMU's check finds has QEMU's words. */
import type { CheckOptions, ChildHandle, ImageCheck } from '@diskgraph/core/driver'
import type { EntryTable } from '@diskgraph/sparse'
import type { Blocks } from './blocks.ts'
import { blockSize, Entry } from './layout.ts'

/** What a check needs of an image. */
export interface CheckedImage {
  readonly file: ChildHandle
  readonly header: { readonly blocksAllocated: number }
  readonly table: EntryTable
  readonly blocks: Blocks
  /** Whether the header in the file tells how many blocks there are. */
  readonly countIsRight: boolean
  /** Writes the header, with the number of blocks as it is. */
  writeHeader(): Promise<void>
  flush(): Promise<void>
}

class Report {
  corruptions = 0
  corruptionsFixed = 0
  leaks = 0
  leaksFixed = 0
  readonly #options: CheckOptions

  constructor(options: CheckOptions) {
    this.#options = options
  }

  get repairs(): boolean {
    return this.#options.repair === 'all'
  }

  /** Tells a fault; whether it is to be repaired. */
  corruption(text: string): boolean {
    this.#options.onFinding?.(this.repairs ? 'repair' : 'error', `${this.repairs ? 'Repairing' : 'ERROR'}: ${text}`)
    if (this.repairs) this.corruptionsFixed++
    else this.corruptions++
    return this.repairs
  }

  leak(count: number, text: string): boolean {
    const fixed = this.#options.repair === 'leaks' || this.repairs
    this.#options.onFinding?.(fixed ? 'repair' : 'leak', text)
    if (fixed) this.leaksFixed += count
    else this.leaks += count
    return fixed
  }
}

/** Compares the map with itself, the header and the file. */
export async function checkImage(image: CheckedImage, options: CheckOptions): Promise<ImageCheck> {
  const report = new Report(options)
  const shared = findDamage(image, report)
  const { blocks } = image
  if (report.repairs) blocks.survey()
  for (const index of shared) await copyBlock(image, index)
  const count = image.header.blocksAllocated
  const used = blocks.end - blocks.free.length
  if (count < blocks.end) {
    if (report.corruption(`allocated blocks mismatch, is ${used}, should be ${count}`)) await image.writeHeader()
  }
  const leaked = Math.max(count, blocks.end) - used
  if (leaked > 0 && report.leak(leaked, `Leaked blocks: ${used} of ${used + leaked} are in use`)) await compact(image)
  if (report.corruptionsFixed + report.leaksFixed > 0) await image.flush()
  const { corruptions, corruptionsFixed, leaks, leaksFixed } = report
  return { checkErrors: 0, corruptions, corruptionsFixed, leaks, leaksFixed }
}

/** Looks at every entry; returns those that get a copy of the block that another one has. */
function findDamage(image: CheckedImage, report: Report): number[] {
  const { table, blocks } = image
  const owned = new Uint8Array(blocks.end)
  const shared: number[] = []
  for (let index = 0; index < table.entries; index++) {
    const entry = table.get(index)
    if (entry === Entry.unallocated || entry === Entry.zero) continue
    if (entry >= owned.length) {
      const text = `block index ${index} too large, is ${entry}`
      if (report.corruption(text)) table.set(index, Entry.unallocated)
    } else if (owned[entry] === 0) {
      owned[entry] = 1
    } else if (report.corruption(`block index ${entry} also used by ${entry}`)) {
      shared.push(index)
    }
  }
  return shared
}

/** Gives an entry a block of its own, with the content of the one that it shares. */
async function copyBlock(image: CheckedImage, index: number): Promise<void> {
  const { blocks, table, file } = image
  const taken = blocks.take(1)
  try {
    const buf = new Uint8Array(blockSize)
    await file.read(blocks.hostOf(table.get(index)), buf)
    await file.write(taken.host, buf)
  } catch (error) {
    blocks.giveBack(taken)
    throw error
  }
  table.set(index, blocks.entryOf(taken.host))
}

/**
 * Moves the last blocks into the gaps before them, and cuts the file off. A block is copied before the map changes,
 * into a gap that the map in the file does not point to: a crash leaves gaps at worst.
 */
export async function compact(image: CheckedImage): Promise<void> {
  const { blocks, table, file } = image
  if (blocks.free.length > 0) {
    const owners = new Map<number, number>()
    const used = blocks.end - blocks.free.length
    for (let index = 0; index < table.entries; index++) {
      const entry = table.get(index)
      if (entry >= used && entry < blocks.end) owners.set(entry, index)
    }
    const gaps = blocks.free.filter((place) => place < used).sort((a, b) => a - b)
    const buf = new Uint8Array(blockSize)
    for (const [i, [place, index]] of [...owners].entries()) {
      const gap = gaps[i]!
      await file.read(blocks.hostOf(place), buf)
      await file.write(blocks.hostOf(gap), buf)
      table.set(index, gap)
    }
    blocks.survey()
    await image.flush()
    await file.flush()
  }
  if (!image.countIsRight) await image.writeHeader()
  await file.truncate(blocks.hostOf(blocks.end))
}
