/**
 * A leaky bucket. Each request pours its units in; they leak at the average rate. While there are more of them in it
 * than fit, requests wait until the surplus has leaked.
 *
 *     no burst             fits a tenth of a second of the average
 *     burst                fits `burst × length` units, which may come as fast as they like where length is 1,
 *     burst, length > 1    and at the burst rate otherwise: a second level, which leaks at that rate, holds them to it
 *
 * A request is let go when nothing is above the brim, whatever its own size: what it pours in above delays the next.
 */
export class LeakyBucket {
  readonly #average: number
  readonly #burst: number
  readonly #size: number
  /** Whether the burst itself is held to its rate. */
  readonly #paced: boolean
  #level = 0
  #burstLevel = 0

  /** Rates in units per second (`average` above 0), `length` in seconds. */
  constructor(average: number, burst: number, length: number) {
    this.#average = average
    this.#burst = burst
    this.#size = burst > 0 ? burst * length : average / 10
    this.#paced = burst > 0 && length > 1
  }

  /** `ms` milliseconds pass. */
  leak(ms: number): void {
    this.#level = Math.max(0, this.#level - (this.#average * ms) / 1000)
    if (this.#paced) this.#burstLevel = Math.max(0, this.#burstLevel - (this.#burst * ms) / 1000)
  }

  pour(units: number): void {
    this.#level += units
    if (this.#paced) this.#burstLevel += units
  }

  /** Milliseconds until the next request may go; 0 when it may go now. */
  wait(): number {
    const wait = ((this.#level - this.#size) * 1000) / this.#average
    const pace = this.#paced ? ((this.#burstLevel - this.#burst / 10) * 1000) / this.#burst : 0
    return Math.max(0, wait, pace)
  }
}
