/** Jobs that take effect together, or not at all. A job that was started alone is a transaction of its own. */

/** A job, as far as its transaction concerns it. */
interface Member {
  readonly autoFinalize: boolean
  readonly done: boolean
  becomePending(): void
  prepare(): Promise<void>
  conclude(failure: Error | undefined): Promise<void>
  /** Ends the work; resolves when it has ended. */
  stop(): Promise<void>
}

/** See the top of the file. Make one, and start several jobs with it. */
export class JobTransaction {
  /** The newest first, as they are ended. */
  readonly #members: Member[] = []
  #ending: Promise<void> | undefined
  /** Jobs that are being started. */
  #expected = 0

  /** @internal One more is being started: the others wait for it until the result is called. */
  expect(): () => void {
    this.#expected++
    let isOver = false
    return () => {
      if (isOver) return
      isOver = true
      this.#expected--
      void this.arrived()
    }
  }

  /** @internal */
  add(member: Member): void {
    this.#members.unshift(member)
    if (this.#ending !== undefined) void this.#endLate(member, this.#ending)
  }

  /** One that comes when the others are ending already goes the way of those that were stopped. */
  async #endLate(member: Member, ending: Promise<void>): Promise<void> {
    await ending.catch(() => undefined)
    await member.stop()
    await member.conclude(new Cancelled())
  }

  /** @internal The work of one has ended well: when that of all has, they are pending, and end unless one waits to be told. */
  async arrived(): Promise<void> {
    if (this.#ending !== undefined || this.#expected > 0) return
    if (this.#members.length === 0 || !this.#members.every(({ done }) => done)) return
    for (const member of this.#members) member.becomePending()
    if (this.#members.every(({ autoFinalize }) => autoFinalize)) await this.finalize()
  }

  /** @internal Lets all take effect. What fails to is the end of all. */
  finalize(): Promise<void> {
    this.#ending ??= this.#finalize()
    return this.#ending
  }

  async #finalize(): Promise<void> {
    for (const member of this.#members) {
      try {
        await member.prepare()
      } catch (error) {
        return this.#abort(member, error as Error)
      }
    }
    for (const member of this.#members) await member.conclude(undefined)
  }

  /** @internal Ends all because of `member`. */
  abort(member: Member, failure: Error): Promise<void> {
    this.#ending ??= this.#abort(member, failure)
    return this.#ending
  }

  async #abort(member: Member, failure: Error): Promise<void> {
    const others = this.#members.filter((other) => other !== member)
    await Promise.all(others.map((other) => other.stop()))
    await member.conclude(failure)
    for (const other of others) await other.conclude(new Cancelled())
  }
}

/** The end of a job that was cancelled, or whose transaction failed. */
export class Cancelled extends Error {
  constructor() {
    super('Operation canceled')
  }
}
