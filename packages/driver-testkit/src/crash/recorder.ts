/**
 * The crash recorder: a filter that writes down what a driver does to its storage, with the moments at which each
 * request started and ended.
 *
 * One clock per recording ticks at every start and every end, so that the order of all requests to all files, and of
 * marks that the test sets, is known. A flush makes durable what had ended before the flush started; nothing else
 * does (a write with FUA counts as durable when it has ended). What states a crash may leave behind follows from
 * that alone: see `states.ts`.
 */
import { type Child, type ChildHandle, type DriverDescriptor, Flag, type OpenContext } from '@diskgraph/core/driver'
import { type Call, ForwardingImage } from '../forward.ts'

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    'testkit-recorder': { open: { file: Child; as: string } }
  }
}

/** The requests that change a file or make changes durable. */
export type RecordedKind = 'write' | 'writeZeroes' | 'discard' | 'truncate' | 'flush'

/** One request to a file. */
export interface RecordedCall {
  readonly kind: RecordedKind
  /** The name of the file, as the recorder's option `as` has it. */
  readonly file: string
  /** For `truncate`, the new size. */
  readonly offset: number
  readonly length: number
  /** What was written; a copy. */
  readonly data?: Uint8Array
  readonly fua: boolean
  readonly start: number
  /** Infinity while it has not ended. */
  end: number
  failed: boolean
}

/** A clock and a log, filled by nodes of its driver `testkit-recorder`. */
export class Recording {
  readonly calls: RecordedCall[] = []
  readonly driver: DriverDescriptor
  #clock = 0

  constructor() {
    this.driver = {
      name: 'testkit-recorder',
      kind: 'filter',
      description: 'Records the requests to a storage, for tests.',
      options: {
        file: { type: 'child', role: 'filtered', required: true, description: 'The storage' },
        as: { type: 'string', required: true, description: 'Name of the storage in the recording' },
      },
      open: async (context: OpenContext<{ as: string }>) =>
        new RecordingImage(context.children.require('file'), this, context.options.as),
    }
  }

  /** Advances the clock and returns the new time. */
  tick(): number {
    return ++this.#clock
  }

  /** The time now. */
  get now(): number {
    return this.#clock
  }
}

const recorded: readonly string[] = ['write', 'writeZeroes', 'discard', 'truncate', 'flush']

class RecordingImage extends ForwardingImage {
  readonly #recording: Recording
  readonly #file: string

  constructor(child: ChildHandle, recording: Recording, file: string) {
    super(child)
    this.#recording = recording
    this.#file = file
  }

  protected override around<T>(call: Call, forward: () => Promise<T>): Promise<T> {
    return recorded.includes(call.kind) ? this.#record(call, forward) : forward()
  }

  async #record<T>(call: Call, forward: () => Promise<T>): Promise<T> {
    const entry: RecordedCall = {
      kind: call.kind as RecordedKind,
      file: this.#file,
      offset: call.offset,
      length: call.length,
      ...(call.data === undefined ? {} : { data: call.data.slice() }),
      fua: (call.flags & Flag.Fua) !== 0,
      start: this.#recording.tick(),
      end: Number.POSITIVE_INFINITY,
      failed: false,
    }
    this.#recording.calls.push(entry)
    try {
      return await forward()
    } catch (error) {
      entry.failed = true
      throw error
    } finally {
      entry.end = this.#recording.tick()
    }
  }
}
