import {
  alignDown,
  alignUp,
  BlockError,
  type BlockStatus,
  type ChildHandle,
  type Clock,
  type DriverInfo,
  describeErrorCode,
  type Limits,
  type OpenContext,
  Passthrough,
  type TruncateOptions,
} from '@diskgraph/core/driver'
import { Breakpoints } from './breakpoints.ts'
import type { RequestKind, Rules } from './rules.ts'

/**
 * The image of a blkdebug node: passes requests on unless a rule fails them. A flush meets the rules, and
 * `flush_to_disk` is heard, only if something was changed since the last flush that passed them, as in QEMU.
 */
export class BlkdebugImage extends Passthrough {
  readonly #clock: Clock
  readonly #limits: Limits
  readonly #discardUnit: number
  readonly #rules: Rules
  readonly #breakpoints: Breakpoints
  /** Changes that have ended, whether they succeeded or not. */
  #changes = 0
  #flushedChanges = 0

  constructor(
    file: ChildHandle,
    { limits, discardUnit }: { readonly limits: Limits; readonly discardUnit: number },
    rules: Rules,
    { clock, emit }: Pick<OpenContext, 'clock' | 'emit'>,
  ) {
    super(file)
    this.#discardUnit = discardUnit
    this.#clock = clock
    this.#limits = limits
    this.#rules = rules
    this.#breakpoints = new Breakpoints((what, tag) => emit(`BLKDEBUG_${what.toUpperCase()}`, { tag }))
  }

  override get limits(): Limits {
    return this.#limits
  }

  override read(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    return this.#meet('read', offset, buf.length) ?? this.file.read(offset, buf, flags, signal)
  }

  override write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    return this.#counted(this.#meet('write', offset, buf.length) ?? this.file.write(offset, buf, flags, signal))
  }

  override writeZeroes(offset: number, length: number, flags: number, signal?: AbortSignal): Promise<void> {
    return this.#counted(
      this.#meet('write-zeroes', offset, length) ?? this.file.writeZeroes(offset, length, flags, signal),
    )
  }

  /** In three parts where `opt-discard` cuts it: what is whole multiples, and what stands before and behind. */
  override async discard(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    const end = offset + length
    const body = alignUp(offset, this.#discardUnit)
    const cuts = body < end ? [offset, body, Math.max(body, alignDown(end, this.#discardUnit)), end] : [offset, end]
    for (let i = 1, from = offset; i < cuts.length; from = cuts[i++] as number) {
      const to = cuts[i] as number
      if (to > from) await this.#discardPart(from, to - from, signal)
    }
  }

  #discardPart(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    return this.#counted(this.#meet('discard', offset, length) ?? this.file.discard(offset, length, signal))
  }

  override truncate(size: number, options: TruncateOptions, signal?: AbortSignal): Promise<void> {
    return this.#counted(this.file.truncate(size, options, signal))
  }

  async flush(): Promise<void> {
    const changes = this.#changes
    if (changes === this.#flushedChanges) return
    await this.#meet('flush', 0, 0)
    this.#flushedChanges = changes
  }

  override blockStatus(offset: number, length: number, signal?: AbortSignal): Promise<BlockStatus> {
    return this.#meet('block-status', offset, length) ?? super.blockStatus(offset, length, signal)
  }

  /** What the image tells, without the space that it takes: a debugging filter does not tell that in QEMU. */
  override async info(): Promise<DriverInfo> {
    const { allocatedSize: _, ...info } = await this.file.info()
    return info
  }

  debugEvent(event: string): Promise<void> | undefined {
    if (event === 'flush_to_disk' && this.#changes === this.#flushedChanges) return undefined
    this.#rules.happen(event)
    return this.#breakpoints.reach(event)
  }

  readonly control = {
    break: (event = '', tag = ''): void => this.#breakpoints.set(event, tag),
    remove_break: (tag = ''): void => this.#breakpoints.remove(tag),
    resume: (tag = ''): void => this.#breakpoints.resume(tag),
    is_suspended: (tag = ''): boolean => this.#breakpoints.isSuspended(tag),
    wait_break: (tag = ''): Promise<void> => this.#breakpoints.wait(tag),
  }

  /** The failure that the rules have for a request; undefined when it may go on. */
  #meet(kind: RequestKind, offset: number, length: number): Promise<never> | undefined {
    const rule = this.#rules.meet(kind, offset, length)
    if (rule?.code === undefined) return undefined
    const cause = `injected by the rule for the event '${rule.event}'`
    const error = new BlockError(rule.code, describeErrorCode(rule.code), { cause })
    if (rule.immediately) return Promise.reject(error)
    return new Promise((_, reject) => this.#clock.timeout(0, () => reject(error)))
  }

  #counted(change: Promise<void>): Promise<void> {
    return change.finally(() => {
      this.#changes++
    })
  }
}
