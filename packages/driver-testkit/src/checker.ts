/**
 * A checker stands between the core and the images of a driver, and checks the promises of both sides of the
 * contract at every call.
 *
 * Buffers: an image never gets the caller's buffer, but a poisoned copy inside a larger one. Canaries before and
 * behind it find writes outside; the poison (a marker that differs from call to call) shows through where a read
 * leaves bytes as they were; after the call the copy is poisoned again, so that a driver which keeps a buffer reads
 * nonsense from it, and looked at once more when the image closes, so that one which writes late is found.
 */
import type { BlockStatus, DriverDescriptor, OpenContext, OpenImage } from '@diskgraph/core/driver'
import { bugIn } from './bugs.ts'

const zone = 64
const canary = 0xc5

/** Receives one sentence per broken promise. */
export type Report = (finding: string) => void

/** A driver like `driver`, whose images are checked. */
export function checked(driver: DriverDescriptor, report: Report): DriverDescriptor {
  const say = (text: string) => report(`${driver.name}: ${text}`)
  return {
    ...driver,
    async open(context: OpenContext) {
      try {
        return checkedImage(await driver.open(context), say)
      } catch (error) {
        const bug = bugIn(error)
        if (bug !== undefined) say(`open fails with something that is not a BlockError: ${bug}`)
        throw error
      }
    },
  }
}

/** `image` behind a checker. Methods that it lacks stay lacking. */
export function checkedImage(image: OpenImage, report: Report): OpenImage {
  const checker = new Checker(image, report)
  const replaced = checker.methods()
  const proxy = new Proxy(image, {
    get(target, property) {
      const own = Reflect.get(target, property, target) as unknown
      if (typeof own !== 'function') return own
      const substitute = replaced[property as keyof OpenImage]
      return substitute ?? (own as (...args: unknown[]) => unknown).bind(target)
    },
  })
  originals.set(proxy, image)
  return proxy
}

/** The images behind the checkers: a driver that copies to another image of its own needs that one itself. */
const originals = new WeakMap<OpenImage, OpenImage>()

type Methods = { [K in keyof OpenImage]?: (...args: never[]) => unknown }

class Checker {
  readonly #image: OpenImage
  readonly #report: Report
  #closed = false
  #inFlight = 0
  #marker = 0
  #retired: Arena[] = []

  constructor(image: OpenImage, report: Report) {
    this.#image = image
    this.#report = report
    this.#checkLimits()
  }

  methods(): Methods {
    return {
      read: (offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal) =>
        this.#read(offset, buf, flags, signal),
      write: (offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal) =>
        this.#write(offset, buf, flags, signal),
      writeZeroes: (offset: number, length: number, flags: number, signal?: AbortSignal) => {
        this.#checkRange('writeZeroes', offset, length, this.#image.limits?.writeZeroesAlignment)
        this.#checkFlags('writeZeroes', flags, this.#image.zeroFlags)
        return this.#call('writeZeroes', () => this.#image.writeZeroes?.(offset, length, flags, signal))
      },
      discard: (offset: number, length: number, signal?: AbortSignal) => {
        this.#checkRange('discard', offset, length, 1)
        return this.#call('discard', () => this.#image.discard?.(offset, length, signal))
      },
      copyRange: (offset: number, target: OpenImage, targetOffset: number, length: number, signal?: AbortSignal) => {
        this.#checkRange('copyRange', offset, length)
        const original = originals.get(target) ?? target
        return this.#call('copyRange', () => this.#image.copyRange?.(offset, original, targetOffset, length, signal))
      },
      flush: (signal?: AbortSignal) => this.#call('flush', () => this.#image.flush?.(signal)),
      blockStatus: (offset: number, length: number, signal?: AbortSignal) => this.#status(offset, length, signal),
      truncate: (...args: Parameters<NonNullable<OpenImage['truncate']>>) => {
        this.#expectDrained('truncate')
        return this.#call('truncate', () => this.#image.truncate?.(...args))
      },
      close: () => this.#close(),
    }
  }

  async #read(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    this.#checkRange('read', offset, buf.length)
    const arena = new Arena(buf.length, this.#nextMarker())
    try {
      await this.#call('read', () => this.#image.read(offset, arena.inner, flags, signal))
      buf.set(arena.inner)
    } finally {
      this.#retire('read', arena)
    }
  }

  async #write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    this.#checkRange('write', offset, buf.length)
    this.#checkFlags('write', flags, this.#image.writeFlags)
    const arena = new Arena(buf.length, this.#nextMarker())
    arena.inner.set(buf)
    try {
      await this.#call('write', () => this.#image.write?.(offset, arena.inner, flags, signal))
    } finally {
      if (arena.inner.some((byte, i) => byte !== buf[i])) this.#report('write changed the buffer of the caller')
      this.#retire('write', arena)
    }
  }

  async #status(offset: number, length: number, signal?: AbortSignal): Promise<BlockStatus | undefined> {
    this.#checkRange('blockStatus', offset, length)
    const status = await this.#call('blockStatus', () => this.#image.blockStatus?.(offset, length, signal))
    if (status === undefined) return undefined
    const where = `blockStatus of ${length} bytes at ${offset}`
    if (!(status.length >= 1 && status.length <= length)) this.#report(`${where} answers for ${status.length} bytes`)
    if (status.offset !== undefined && status.compressed) this.#report(`${where} gives an offset for compressed data`)
    if (status.data && !status.allocated) this.#report(`${where} says data, but not allocated`)
    return status
  }

  async #close(): Promise<void> {
    this.#expectDrained('close')
    if (this.#closed) this.#report('close is called twice')
    this.#closed = true
    await this.#image.close?.()
    await undefined
    for (const arena of this.#retired) {
      if (!arena.untouchedSinceRetired()) this.#report('a buffer was written to after its request had ended')
    }
    this.#retired = []
  }

  /** Calls the image, which answers with a promise and rejects with a BlockError. */
  async #call<T>(kind: string, call: () => Promise<T> | undefined): Promise<T> {
    if (this.#closed) this.#report(`${kind} after close`)
    this.#inFlight++
    try {
      const promise = call()
      if (typeof promise?.then !== 'function') this.#report(`${kind} does not return a promise`)
      return (await promise) as T
    } catch (error) {
      const bug = bugIn(error)
      if (bug !== undefined) this.#report(`${kind} fails with something that is not a BlockError: ${bug}`)
      throw error
    } finally {
      this.#inFlight--
    }
  }

  #checkLimits(): void {
    const { alignment = 1, maxTransfer = 2 ** 31 - 512 } = this.#image.limits ?? {}
    if (alignment < 1 || !Number.isInteger(Math.log2(alignment))) {
      this.#report(`limits.alignment is ${alignment}, not a power of two`)
    }
    if (maxTransfer < alignment) this.#report('limits.maxTransfer is less than limits.alignment')
  }

  #checkRange(kind: string, offset: number, length: number, unit = 1): void {
    const alignment = Math.max(unit, this.#image.limits?.alignment ?? 1)
    const { maxTransfer = 2 ** 31 - 512 } = this.#image.limits ?? {}
    const what = `core: ${kind} of ${length} bytes at ${offset}`
    if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 0) {
      this.#report(`${what}: not a range`)
    }
    const atEnd = offset + length >= this.#image.size
    const misaligned = offset % alignment !== 0 || (length % alignment !== 0 && !atEnd)
    if (misaligned) this.#report(`${what}: not aligned to ${alignment}`)
    if ((kind === 'read' || kind === 'write') && length > maxTransfer) this.#report(`${what}: longer than maxTransfer`)
  }

  #checkFlags(kind: string, flags: number, supported = 0): void {
    const passed = flags & ~supported & ~16
    if (passed !== 0) this.#report(`core: ${kind} with flags ${passed} that the image does not support`)
  }

  #expectDrained(kind: string): void {
    if (this.#inFlight > 0) this.#report(`core: ${kind} while ${this.#inFlight} requests are in flight`)
  }

  #nextMarker(): number {
    this.#marker = (this.#marker + 37) % 256
    return this.#marker
  }

  #retire(kind: string, arena: Arena): void {
    if (!arena.intactOutside()) this.#report(`${kind} wrote outside the buffer`)
    arena.retire()
    this.#retired.push(arena)
    if (this.#retired.length > 64) {
      const oldest = this.#retired.shift()
      if (oldest?.untouchedSinceRetired() === false) {
        this.#report('a buffer was written to after its request had ended')
      }
    }
  }
}

/** A buffer between two canary zones. */
class Arena {
  readonly inner: Uint8Array
  readonly #whole: Uint8Array

  constructor(length: number, marker: number) {
    this.#whole = new Uint8Array(length + 2 * zone)
    this.#whole.fill(canary)
    this.inner = this.#whole.subarray(zone, zone + length)
    // Differs from byte to byte, so that it is not mistaken for a pattern of the test.
    for (let i = 0; i < length; i++) this.inner[i] = (marker + i * 29) % 251
  }

  intactOutside(): boolean {
    const whole = this.#whole
    const end = whole.length - zone
    for (let i = 0; i < zone; i++) if (whole[i] !== canary || whole[end + i] !== canary) return false
    return true
  }

  retire(): void {
    this.#whole.fill(canary)
  }

  untouchedSinceRetired(): boolean {
    return this.#whole.every((byte) => byte === canary)
  }
}
