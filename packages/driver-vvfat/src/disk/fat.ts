/** The FAT of a volume whose files and directories are in one piece each, made from them where it is read. */
import type { FatType } from './geometry.ts'

/** Clusters of one file or directory, one after the other. */
export interface Run {
  readonly first: number
  readonly count: number
}

/** As many bytes as hold whole entries of all three kinds. */
const groupSize = 1536

/** Marks the last cluster of a chain. */
function endMark(fatType: FatType): number {
  return fatType === 32 ? 0x0fffffff : 2 ** fatType - 1
}

/** See the top of the file. `runs` are sorted by their first cluster and do not overlap. */
export class GeneratedFat {
  readonly #fatType: FatType
  readonly #media: number
  readonly #runs: readonly Run[]

  constructor(fatType: FatType, media: number, runs: readonly Run[]) {
    this.#fatType = fatType
    this.#media = media
    this.#runs = runs
  }

  /** Fills `buf` with the bytes of the FAT from `offset` on. */
  read(offset: number, buf: Uint8Array): void {
    const group = new Uint8Array(groupSize)
    for (let done = 0; done < buf.length; ) {
      const index = Math.floor((offset + done) / groupSize)
      const skip = offset + done - index * groupSize
      this.#fill(index, group)
      const part = group.subarray(skip, skip + buf.length - done)
      buf.set(part, done)
      done += part.length
    }
  }

  #fill(index: number, group: Uint8Array): void {
    const count = (groupSize * 8) / this.#fatType
    const first = index * count
    group.fill(0)
    for (let i = runIndex(this.#runs, first); i < this.#runs.length; i++) {
      const run = this.#runs[i] as Run
      if (run.first >= first + count) break
      const end = run.first + run.count
      for (let n = Math.max(run.first, first); n < Math.min(end, first + count); n++) {
        setEntry(this.#fatType, group, n - first, n + 1 === end ? endMark(this.#fatType) : n + 1)
      }
    }
    if (index > 0) return
    setEntry(this.#fatType, group, 0, endMark(this.#fatType) - 0xff + this.#media)
    setEntry(this.#fatType, group, 1, endMark(this.#fatType))
  }
}

/** The index of the first run that ends behind `cluster`. */
function runIndex(runs: readonly Run[], cluster: number): number {
  let [low, high] = [0, runs.length]
  while (low < high) {
    const middle = (low + high) >> 1
    const run = runs[middle] as Run
    if (run.first + run.count > cluster) high = middle
    else low = middle + 1
  }
  return low
}

function setEntry(fatType: FatType, fat: Uint8Array, n: number, value: number): void {
  if (fatType === 12) {
    const at = n + (n >> 1)
    if (n % 2 === 0) {
      fat[at] = value & 0xff
      fat[at + 1] = ((fat[at + 1] as number) & 0xf0) | (value >> 8)
    } else {
      fat[at] = ((fat[at] as number) & 0x0f) | ((value & 0x0f) << 4)
      fat[at + 1] = value >> 4
    }
    return
  }
  const bytes = fatType / 8
  for (let i = 0; i < bytes; i++) fat[n * bytes + i] = (value >>> (8 * i)) & 0xff
}
