/**
 * The states that a crash may leave behind, made from a recording.
 *
 * At a moment `t`, a change is durable when a flush of its file started after the change had ended and itself ended
 * before `t`. Every other change that had started before `t` may have happened in part: any subset of the changes,
 * each torn at sectors of 512 bytes (any subset of its sectors), an extension of the file with or without its data,
 * a truncation or not. On one sector the changes that did happen keep their order; leaving a later one out gives
 * the same states as swapping them.
 *
 * The walk goes forward in time and applies to a base, per file, what has become durable; a state is a copy of the
 * bases (cheap, see `paged-file.ts`) with some of the open changes on top.
 */
import { PagedFile } from '../paged-file.ts'
import type { Random } from '../random.ts'
import type { RecordedCall } from './recorder.ts'

const sectorSize = 512

/** The files as a crash at `time` may leave them. */
export interface CrashState {
  readonly time: number
  /** How the subset of open changes was chosen. */
  readonly choice: string
  readonly openChanges: number
  readonly files: ReadonlyMap<string, PagedFile>
}

/** Which part of the open changes happened, per change: none, all, or a coin per sector. */
type Verdict = 'none' | 'all' | 'torn'
type Choice = 'everything' | 'nothing' | 'prefix' | 'coins' | 'sectors' | 'recent' | 'one' | 'all-but-one'

const weights: Readonly<Record<Choice, number>> = {
  everything: 8,
  nothing: 10,
  prefix: 16,
  coins: 24,
  sectors: 16,
  recent: 10,
  one: 8,
  'all-but-one': 8,
}

/** See the top of the file. Ask for states with rising times. */
export class CrashWalk {
  readonly #bases = new Map<string, PagedFile>()
  readonly #calls: readonly RecordedCall[]
  readonly #flushes: readonly RecordedCall[]
  #open: RecordedCall[] = []
  #next = 0
  #nextFlush = 0

  /** `files`: what was there before the recording began. The calls are in order of their start. */
  constructor(files: ReadonlyMap<string, PagedFile>, calls: readonly RecordedCall[]) {
    for (const [name, file] of files) this.#bases.set(name, file.clone())
    const done = calls.filter((call) => !call.failed)
    this.#calls = done.filter((call) => call.kind !== 'flush')
    this.#flushes = done.filter((call) => call.kind === 'flush').sort((a, b) => a.end - b.end)
  }

  /** Moves to `time`, which is not before the last one. */
  advance(time: number): void {
    for (; this.#next < this.#calls.length; this.#next++) {
      const call = this.#calls[this.#next] as RecordedCall
      if (call.start > time) break
      this.#open.push(call)
    }
    for (; this.#nextFlush < this.#flushes.length; this.#nextFlush++) {
      const flush = this.#flushes[this.#nextFlush] as RecordedCall
      if (flush.end > time) break
      this.#settle((call) => call.file === flush.file && call.end < flush.start)
    }
    this.#settle((call) => call.fua && call.end <= time)
  }

  /** How many changes may or may not have happened at the current moment. */
  get openChanges(): number {
    return this.#open.length
  }

  /** One legal state of the moment that the walk stands at, chosen by `random`. */
  state(time: number, random: Random): CrashState {
    const choice = random.weighted(weights)
    const files = this.#copies()
    const decide = decision(choice, this.#open.length, random)
    for (const [i, call] of this.#open.entries()) applyPartly(fileOf(files, call), call, decide(i), random)
    return { time, choice, openChanges: this.#open.length, files }
  }

  /** Every subset of whole open changes, without tearing: 2^n states, for small n. */
  *subsets(time: number, random: Random): Generator<CrashState> {
    const count = this.#open.length
    for (let mask = 0; mask < 2 ** count; mask++) {
      const files = this.#copies()
      this.#open.forEach((call, i) => {
        if (Math.floor(mask / 2 ** i) % 2 === 1) applyPartly(fileOf(files, call), call, 'all', random)
      })
      yield { time, choice: `subset ${mask}`, openChanges: count, files }
    }
  }

  #copies(): Map<string, PagedFile> {
    const files = new Map<string, PagedFile>()
    for (const [name, base] of this.#bases) files.set(name, base.clone())
    return files
  }

  #settle(durable: (call: RecordedCall) => boolean): void {
    const rest: RecordedCall[] = []
    for (const call of this.#open) {
      if (durable(call)) apply(fileOf(this.#bases, call), call)
      else rest.push(call)
    }
    this.#open = rest
  }
}

function fileOf(files: Map<string, PagedFile>, call: RecordedCall): PagedFile {
  let file = files.get(call.file)
  if (file === undefined) {
    file = new PagedFile()
    files.set(call.file, file)
  }
  return file
}

function decision(choice: Choice, count: number, random: Random): (index: number) => Verdict {
  const cut = random.below(count + 1)
  const one = random.below(Math.max(count, 1))
  const tearing = random.chance(0.4)
  switch (choice) {
    case 'everything':
      return () => 'all'
    case 'nothing':
      return () => 'none'
    case 'prefix':
      return (i) => (i < cut ? 'all' : i === cut ? 'torn' : 'none')
    case 'recent':
      return (i) => (i > cut ? 'all' : i === cut ? 'torn' : 'none')
    case 'one':
      return (i) => (i === one ? (tearing ? 'torn' : 'all') : 'none')
    case 'all-but-one':
      return (i) => (i !== one ? 'all' : tearing ? 'torn' : 'none')
    case 'sectors':
      return () => 'torn'
    case 'coins':
      return () => (random.chance(0.5) ? 'none' : tearing && random.chance(0.5) ? 'torn' : 'all')
  }
}

/** Performs `call` on `file`. */
function apply(file: PagedFile, call: RecordedCall): void {
  if (call.kind === 'truncate') file.truncate(call.offset)
  else if (call.data !== undefined) file.write(call.offset, call.data)
  else if (call.kind === 'writeZeroes') file.zero(call.offset, call.length)
  else if (call.kind === 'discard') file.zero(call.offset, Math.max(0, Math.min(call.length, file.size - call.offset)))
}

function applyPartly(file: PagedFile, call: RecordedCall, verdict: Verdict, random: Random): void {
  if (verdict === 'none') return
  if (verdict === 'all' || call.kind === 'truncate') {
    if (verdict === 'all' || random.chance(0.5)) apply(file, call)
    return
  }
  const end = call.offset + call.length
  if (call.kind !== 'discard' && end > file.size && random.chance(0.5)) file.truncate(end)
  for (const [start, stop] of tornPieces(call.offset, end, random)) {
    apply(file, {
      ...call,
      offset: start,
      length: stop - start,
      ...(call.data === undefined ? {} : { data: call.data.subarray(start - call.offset, stop - call.offset) }),
    })
  }
}

/** Some of the sectors of a range, as runs. Long ranges fall into at most a few dozen runs. */
function* tornPieces(offset: number, end: number, random: Random): Generator<readonly [number, number]> {
  const sectors = Math.ceil(end / sectorSize) - Math.floor(offset / sectorSize)
  const step = sectorSize * Math.max(1, Math.ceil(sectors / 64))
  for (let at = offset; at < end; ) {
    const stop = Math.min(end, (Math.floor(at / sectorSize) + step / sectorSize) * sectorSize)
    if (random.chance(0.5)) yield [at, stop]
    at = stop
  }
}
