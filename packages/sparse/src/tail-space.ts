/** Room for clusters behind the last one of a file, and where clusters were given back. */
import type { TakenClusters } from './table-format.ts'

/** See the top of this file. Offsets and lengths are bytes of the file. */
export class TailSpace {
  /** Behind the last cluster. */
  end: number
  /** Behind the furthest cluster that was ever taken. What was given back may have been written up to there. */
  furthest: number
  readonly #stride: number
  readonly #free: number[] = []

  /** `end`: where the next cluster goes. `stride`: bytes from one to the next. */
  constructor(end: number, stride: number) {
    this.end = end
    this.furthest = end
    this.#stride = stride
  }

  /** Takes one cluster that was given back, or as many as are asked for at the end. */
  take(clusters: number): TakenClusters {
    const again = this.#free.pop()
    if (again !== undefined) return { host: again, clusters: 1 }
    const host = this.end
    this.end += clusters * this.#stride
    this.furthest = Math.max(this.furthest, this.end)
    return { host, clusters }
  }

  /** Takes clusters back that nothing points to. */
  giveBack({ host, clusters }: TakenClusters): void {
    if (host + clusters * this.#stride === this.end) this.end = host
    else for (let i = clusters - 1; i >= 0; i--) this.#free.push(host + i * this.#stride)
  }
}
