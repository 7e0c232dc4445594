/** The findings and figures of one check. The lines are those that readers of QEMU's checks look for. */
import type { CheckOptions, ImageCheck, Repair } from '@diskgraph/core/driver'

/** See the top of this file. */
export class CheckReport {
  readonly repair: Repair
  checkErrors = 0
  corruptions = 0
  leaks = 0
  corruptionsFixed = 0
  leaksFixed = 0
  allocatedClusters = 0
  fragmentedClusters = 0
  compressedClusters = 0
  /** The highest cluster in use. */
  highestCluster = 0
  private readonly onFinding: CheckOptions['onFinding']

  constructor(options: CheckOptions) {
    this.repair = options.repair ?? 'none'
    this.onFinding = options.onFinding
  }

  /** Forgets what is wrong and how much there is, but not what was mended: all is counted again. */
  startAgain(): void {
    this.checkErrors = 0
    this.corruptions = 0
    this.leaks = 0
    this.allocatedClusters = 0
    this.fragmentedClusters = 0
    this.compressedClusters = 0
    this.highestCluster = 0
  }

  /** Something is wrong and stays wrong. */
  corruption(text: string): void {
    this.corruptions++
    this.onFinding?.('error', text)
  }

  /** A cluster is counted more often than it is used. */
  leak(text: string): void {
    this.leaks++
    this.onFinding?.('leak', text)
  }

  /** The check itself could not do something. */
  failure(text: string): void {
    this.checkErrors++
    this.onFinding?.('error', text)
  }

  /** Something wrong has been put right. */
  fixed(text: string): void {
    this.corruptionsFixed++
    this.onFinding?.('repair', text)
  }

  /** A leak has been mended. */
  leakFixed(text: string): void {
    this.leaksFixed++
    this.onFinding?.('repair', text)
  }

  /** Tells of a repair that is no finding of its own. */
  repairNote(text: string): void {
    this.onFinding?.('repair', text)
  }

  /** Tells what is being done, or how to go on. */
  note(text: string): void {
    this.onFinding?.('info', text)
  }

  /** The figures, for an image of `clusterSize` whose disk has `totalClusters`. */
  result(clusterSize: number, totalClusters: number): ImageCheck {
    const { checkErrors, corruptions, leaks, corruptionsFixed, leaksFixed } = this
    const { allocatedClusters, fragmentedClusters, compressedClusters } = this
    return {
      checkErrors,
      corruptions,
      leaks,
      corruptionsFixed,
      leaksFixed,
      imageEndOffset: (this.highestCluster + 1) * clusterSize,
      totalClusters,
      allocatedClusters,
      fragmentedClusters,
      compressedClusters,
    }
  }
}

/** A 64-bit field in hexadecimal, from its halves. */
export function hexField(hi: number, lo: number): string {
  const low = (lo >>> 0).toString(16)
  return hi === 0 ? low : (hi >>> 0).toString(16) + low.padStart(8, '0')
}
