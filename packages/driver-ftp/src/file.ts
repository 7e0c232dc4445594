/**
 * A file on an FTP server, read by several sessions.
 *
 * Invariant: all bytes that ever leave this object belong to one version of the file, as far as the server tells: before
 * each RETR its size and date are compared with those of the start, and each RETR that comes to the end of the file must
 * end there. Whether the server begins where REST says is tried when the file is opened: its last byte must be one byte.
 *
 * A session stands somewhere in the file. A transfer that begins where another one ends waits for it and goes on with
 * its stream, so reads that follow each other cost one RETR.
 */
import { BlockError, isBlockError, throwIfAborted } from '@diskgraph/core/driver'
import { type Cursor, Interruption, type RemoteSource, repeat, type Sink, Watchdog } from '@diskgraph/remote'
import type { FtpSettings } from './options.ts'
import { type FileVersion, Session } from './session.ts'

/** A session, or the place for one, and the transfers that wait for it. */
interface Lane {
  session: Session | undefined
  /** Where the file stands when all of them are done. */
  end: number
  queued: number
  last: Promise<void>
}

/** How much of the start of the file is read when it is opened. */
const headLength = 64 * 1024

/** See the top of the file. */
export class FtpFile implements RemoteSource {
  readonly #settings: FtpSettings
  #lanes: readonly Lane[] = []
  #most: number
  #version: FileVersion | undefined
  #failure: BlockError | undefined

  constructor(settings: FtpSettings) {
    this.#settings = settings
    this.#most = settings.connections
  }

  get size(): number {
    return this.#version?.size ?? 0
  }

  /** Whether the server says when the file was changed. */
  get isVersioned(): boolean {
    return this.#version?.changed !== undefined
  }

  async start(signal: AbortSignal | undefined): Promise<Uint8Array> {
    this.#version = undefined
    this.#failure = undefined
    await this.transfer(0, 0, () => undefined, signal)
    const { size } = this
    if (size > 1) await this.transfer(size - 1, size, () => undefined, signal)
    const head = new Uint8Array(Math.min(headLength, size))
    await this.transfer(0, head.length, (offset, chunk) => head.set(chunk, offset), signal)
    return head
  }

  transfer(start: number, end: number, sink: Sink, signal?: AbortSignal): Promise<void> {
    const cursor: Cursor = { at: start, end, sink }
    return repeat(this.#settings, cursor, (watched) => this.#attempt(cursor, watched), signal)
  }

  close(): void {
    for (const { session } of this.#lanes) session?.destroy(new BlockError('ECANCELED', 'the node is being closed'))
    this.#lanes = []
  }

  async #attempt(cursor: Cursor, signal: AbortSignal): Promise<void> {
    const lane = this.#choose(cursor.at)
    const before = lane.last
    let leave = (): void => undefined
    lane.last = new Promise((resolve) => {
      leave = resolve
    })
    lane.queued++
    lane.end = cursor.end
    await before
    const watchdog = new Watchdog(this.#settings.clock, signal)
    try {
      throwIfAborted(signal)
      if (this.#failure !== undefined) throw this.#failure
      await this.#read(lane, cursor, watchdog)
    } finally {
      watchdog.stop()
      lane.queued--
      leave()
    }
  }

  /** One that will stand at `start`; else one that nobody waits for, if it may be with no file on its way; else a new one. */
  #choose(start: number): Lane {
    const fitting = this.#lanes.find((lane) => lane.end === start && (lane.queued > 0 || lane.session !== undefined))
    if (fitting !== undefined) return fitting
    const idle = this.#lanes.filter(({ queued }) => queued === 0)
    const resting = idle.find(({ session }) => session?.position === undefined)
    if (resting !== undefined) return resting
    if (this.#lanes.length < this.#most) {
      const lane: Lane = { session: undefined, end: -1, queued: 0, last: Promise.resolve() }
      this.#lanes = [...this.#lanes, lane]
      return lane
    }
    const shortest = (best: Lane, lane: Lane): Lane => (lane.queued < best.queued ? lane : best)
    return idle[0] ?? this.#lanes.reduce(shortest)
  }

  async #read(lane: Lane, cursor: Cursor, watchdog: Watchdog): Promise<void> {
    if (lane.session?.isOpen === false) lane.session = undefined
    const used = lane.session
    const { at } = cursor
    try {
      const session = used ?? (await this.#open(lane, watchdog))
      lane.session = session
      await session.work(watchdog, async () => {
        if (session.position !== cursor.at) {
          await session.stop()
          this.#compare(await session.version())
        }
        cursor.end = Math.min(cursor.end, this.size)
        if (cursor.at < cursor.end) await session.read(cursor, this.size)
      })
    } catch (error) {
      lane.session = undefined
      // A session that had been left alone may have been ended by the server meanwhile.
      if (used !== undefined && cursor.at === at && error instanceof Interruption) {
        throw new Interruption(error.error, { stale: true })
      }
      throw error
    }
  }

  async #open(lane: Lane, watchdog: Watchdog): Promise<Session> {
    try {
      return await Session.open(this.#settings, watchdog)
    } catch (error) {
      const others = this.#lanes.filter((other) => other !== lane && other.session !== undefined)
      const refused = error instanceof Interruption ? error.error : error
      if (watchdog.signal.aborted || others.length === 0 || !isBlockError(refused)) throw error
      // It has let us in before: so many are too many for it.
      this.#most = others.length
      this.#lanes = this.#lanes.filter((other) => other !== lane)
      throw new Interruption(refused, { stale: true })
    }
  }

  #compare(version: FileVersion): void {
    this.#version ??= version
    const { size, changed } = this.#version
    if (version.size === size && version.changed === changed) return
    const how = version.size === size ? 'its date is another' : `its size was ${size} and is ${version.size}`
    const hint = 'close the node and open it again'
    this.#failure = new BlockError('ESTALE', `the file on the server has changed: ${how}`, { hint })
    throw this.#failure
  }
}
