/**
 * What guests did to each sector and what they saw, and whether that can be explained by one order of the operations
 * in which each takes effect at one moment between its call and its answer (linearizability of a register).
 *
 * Every write stores a value of its own, so a read names the write that it saw. Then the following suffices
 * (Gibbons and Korach, "Testing Shared Memories", 1997): all operations on one value make a zone from the earliest
 * answer to the latest call. A zone that runs forward is a time in which the sector must hold that value: two of them
 * may not overlap, and a zone that runs backward may not lie within one. Zero is written by many, so for reads of zero
 * only the obvious is asked: some zeroing is not known to be overwritten.
 */

/** One operation on one sector. Times are virtual milliseconds, or a count: only their order matters. */
interface Access {
  readonly call: number
  answer: number
}

interface Zone {
  readonly value: number
  /** The write; it may have begun and never been answered. */
  write: Access
  /** Earliest answer and latest call of all its operations. */
  answered: number
  called: number
  seen: boolean
}

/** The history of one sector. */
class SectorHistory {
  readonly zones = new Map<number, Zone>()
  /** Zeroings; the first is the beginning of time. */
  readonly zeroes: Access[] = [{ call: -1, answer: -1 }]
  readonly zeroReads: Access[] = []
}

/** See the top of the file. */
export class History {
  readonly #sectors = new Map<number, SectorHistory>()
  readonly #lost = new Set<number>()
  #moment = 0

  /** A moment after all before. */
  tick(): number {
    return ++this.#moment
  }

  /** A write of `value` (not zero) begins; set the answer of the result when it is known to have been done. */
  write(sector: number, value: number, call: number): Access {
    const write = { call, answer: Number.POSITIVE_INFINITY }
    const zone = { value, write, answered: Number.POSITIVE_INFINITY, called: call, seen: false }
    this.#at(sector).zones.set(value, zone)
    return write
  }

  /** As {@link write}, for a zeroing. */
  zero(sector: number, call: number): Access {
    const access = { call, answer: Number.POSITIVE_INFINITY }
    this.#at(sector).zeroes.push(access)
    return access
  }

  /** A read that was called and answered saw `value`. */
  read(sector: number, value: number, call: number, answer: number): void {
    const history = this.#at(sector)
    if (value === 0) {
      history.zeroReads.push({ call, answer })
      return
    }
    const zone = history.zones.get(value)
    if (zone === undefined && this.#lost.has(sector)) return
    if (zone === undefined) throw new Error(`sector ${sector} holds ${value}, which nobody wrote there`)
    zone.seen = true
    zone.answered = Math.min(zone.answered, answer)
    zone.called = Math.max(zone.called, call)
  }

  /** Nothing is asked of a sector any more: an operation that failed may have left anything there. */
  lose(sector: number): void {
    this.#lost.add(sector)
  }

  /** Throws with the first sector whose history cannot be explained. */
  check(): void {
    for (const [sector, history] of this.#sectors) if (!this.#lost.has(sector)) checkSector(sector, history)
  }

  #at(sector: number): SectorHistory {
    let history = this.#sectors.get(sector)
    if (history === undefined) {
      history = new SectorHistory()
      this.#sectors.set(sector, history)
    }
    return history
  }
}

function checkSector(sector: number, { zones, zeroes, zeroReads }: SectorHistory): void {
  const forward: Zone[] = []
  const backward: Zone[] = []
  for (const zone of zones.values()) {
    zone.answered = Math.min(zone.answered, zone.write.answer)
    if (zone.seen && zone.answered < zone.write.call) fail(sector, `${zone.value} is seen before it is written`)
    // A write that nobody saw and that may not have been done explains itself.
    if (zone.answered === Number.POSITIVE_INFINITY) continue
    if (zone.answered < zone.called) forward.push(zone)
    else backward.push(zone)
  }
  forward.sort((a, b) => a.answered - b.answered)
  let longest: Zone | undefined
  for (const zone of forward) {
    if (longest !== undefined && zone.answered < longest.called) {
      fail(sector, `${longest.value} is seen although ${zone.value} was there meanwhile`)
    }
    if (longest === undefined || zone.called > longest.called) longest = zone
  }
  for (const zone of backward) {
    const around = forward.find(({ answered, called }) => answered < zone.called && zone.answered < called)
    if (around !== undefined) fail(sector, `${around.value} is seen after ${zone.value} overwrote it`)
  }
  const done = [...zones.values()].filter(({ write }) => write.answer < Number.POSITIVE_INFINITY)
  for (const read of zeroReads) {
    const explained = zeroes.some((zero) => zero.call < read.answer && !isOver(zero, done, read))
    if (!explained) fail(sector, `zeroes are seen at ${read.call} although they were overwritten`)
  }
  // A value that is seen after a zeroing which came after its write was done has come back.
  for (const zero of zeroes) {
    const back = forward.find(({ write, called }) => write.answer < zero.call && zero.answer < called)
    if (back !== undefined) fail(sector, `${back.value} is seen again after zeroes`)
  }
}

/** Whether `zero` is surely overwritten when `read` begins. */
function isOver(zero: Access, done: readonly Zone[], read: Access): boolean {
  return done.some(({ write }) => zero.answer < write.call && write.answer < read.call)
}

function fail(sector: number, what: string): never {
  throw new Error(`the history of sector ${sector} cannot be: ${what}`)
}
