import type { Random } from '../random.ts'

/** One step of a differential sequence: what both sides do. */
export type Step =
  | {
      readonly kind: 'write'
      readonly offset: number
      readonly length: number
      readonly pattern: number
      readonly fua: boolean
    }
  | { readonly kind: 'compressed'; readonly offset: number; readonly length: number; readonly pattern: number }
  | { readonly kind: 'zeroes'; readonly offset: number; readonly length: number; readonly unmap: boolean }
  | { readonly kind: 'discard' | 'read'; readonly offset: number; readonly length: number }
  | { readonly kind: 'truncate'; readonly size: number }
  | { readonly kind: 'flush' | 'reopen' }
  | { readonly kind: 'snapshot-create' | 'snapshot-apply' | 'snapshot-delete'; readonly name: string }

/** The kinds of {@link Step}. */
export type StepKind = Step['kind']

/** What a {@link StepGenerator} makes. */
interface StepSettings {
  readonly size: number
  readonly cluster: number
  readonly weights: Readonly<Partial<Record<StepKind, number>>>
}

const longest = 2 ** 18

/** Makes random steps; some are out of bounds, since both sides must fail alike too. */
export class StepGenerator {
  readonly #settings: StepSettings
  readonly #random: Random
  #size: number

  constructor(settings: StepSettings, random: Random) {
    this.#settings = settings
    this.#random = random
    this.#size = settings.size
  }

  next(): Step {
    const random = this.#random
    const { weights, cluster } = this.#settings
    const kind = random.weighted(weights)
    switch (kind) {
      case 'flush':
      case 'reopen':
        return { kind }
      case 'truncate':
        return { kind, size: this.#newSize() }
      case 'snapshot-create':
      case 'snapshot-apply':
      case 'snapshot-delete':
        return { kind, name: `s${random.below(4)}` }
      case 'compressed':
        return {
          kind,
          offset: random.below(Math.ceil(this.#size / cluster)) * cluster,
          length: cluster,
          pattern: random.below(256),
        }
      case 'write':
        return { kind, ...this.#range(longest), pattern: random.below(256), fua: random.chance(0.1) }
      case 'zeroes':
        return { kind, ...this.#range(longest * 2), unmap: random.chance(0.5) }
      case 'read':
        return { kind, ...this.#range(2048) }
      case 'discard':
        return { kind, ...this.#range(longest * 2) }
    }
  }

  #newSize(): number {
    const { size, cluster } = this.#settings
    const unit = this.#random.pick([512, 512, cluster])
    this.#size = Math.max(unit, Math.floor((size * this.#random.between(50, 150)) / 100 / unit) * unit)
    return this.#size
  }

  #range(most: number): { readonly offset: number; readonly length: number } {
    const random = this.#random
    const { cluster } = this.#settings
    const length = Math.max(1, Math.floor(Math.exp(random.fraction() * Math.log(most))))
    if (random.chance(0.02)) return { offset: this.#size - random.below(length), length }
    const way = random.fraction()
    const edge = random.below(Math.ceil(this.#size / cluster)) * cluster
    const place = way < 0.4 ? random.below(this.#size) : way < 0.7 ? edge : edge - random.below(length + 1)
    const whole = random.chance(0.3) ? Math.max(cluster, Math.floor(length / cluster) * cluster) : length
    const offset = Math.max(0, Math.min(place, this.#size - whole))
    return { offset, length: Math.min(whole, this.#size - offset) }
  }
}

/** The command of qemu-io for a step that it has one for. */
export function qemuIoCommand(step: Step): string | undefined {
  switch (step.kind) {
    case 'write':
      return `write ${step.fua ? '-f ' : ''}-P ${step.pattern} ${step.offset} ${step.length}`
    case 'compressed':
      return `write -c -P ${step.pattern} ${step.offset} ${step.length}`
    case 'zeroes':
      return `write -z ${step.unmap ? '-u ' : ''}${step.offset} ${step.length}`
    case 'discard':
      return `discard ${step.offset} ${step.length}`
    case 'read':
      return `read -v ${step.offset} ${step.length}`
    case 'truncate':
      return `truncate ${step.size}`
    case 'flush':
      return 'flush'
    default:
      return undefined
  }
}
