import { BlockError, type BlockStatus, type DriverInfo, type Limits, systemClock, systemRandom } from '@diskgraph/core'
import { type ChildHandle, type Children, done, type OpenContext } from '@diskgraph/core/driver'
import { create } from '../src/create.ts'
import { Qcow2Image } from '../src/image.ts'
import { activate, openState } from '../src/open.ts'
import type { Qcow2State } from '../src/state.ts'

/** A child over bytes in memory that keeps a log of what is done to it, and can hold or fail calls. */
export class FakeFile implements ChildHandle {
  readonly name = 'file'
  readonly role = 'storage'
  readonly nodeName = 'fake'
  readonly filename = 'fake'
  readonly limits = { alignment: 1 } as Limits
  readonly zeroInit = true
  readonly writeFlags = 0
  readOnly = false
  bytes = new Uint8Array(0)
  /** Every call: `write 0x10000+65536`, `flush`, and events as `(l2_load)`. */
  log: string[] = []
  /** Decides about a call before it is done: a promise holds it, a rejection fails it. */
  before: (call: string) => Promise<void> | undefined = () => undefined

  get size(): number {
    return this.bytes.length
  }

  async read(offset: number, buf: Uint8Array): Promise<void> {
    await this.note(`read ${hex(offset)}+${buf.length}`)
    buf.fill(0)
    buf.set(this.bytes.subarray(offset, offset + buf.length))
  }

  async write(offset: number, buf: Uint8Array): Promise<void> {
    await this.note(`write ${hex(offset)}+${buf.length}`)
    this.grow(offset + buf.length)
    this.bytes.set(buf, offset)
  }

  async writeZeroes(offset: number, length: number): Promise<void> {
    await this.note(`zero ${hex(offset)}+${length}`)
    this.grow(offset + length)
    this.bytes.fill(0, offset, offset + length)
  }

  async discard(offset: number, length: number): Promise<void> {
    await this.note(`discard ${hex(offset)}+${length}`)
    this.bytes.fill(0, offset, offset + length)
  }

  flush(): Promise<void> {
    return this.note('flush')
  }

  async truncate(size: number): Promise<void> {
    await this.note(`truncate ${size}`)
    if (size < this.size) this.bytes = this.bytes.slice(0, size)
    else this.grow(size)
  }

  async blockStatus(_offset: number, length: number): Promise<BlockStatus> {
    return { length, data: true, zero: false, allocated: true }
  }

  async chainStatus(offset: number, length: number): ReturnType<ChildHandle['chainStatus']> {
    return { ...(await this.blockStatus(offset, length)), present: true }
  }

  copyRange(): Promise<void> {
    return Promise.reject(new BlockError('ENOTSUP', 'no copies here'))
  }

  async info(): Promise<DriverInfo> {
    return {}
  }

  readSnapshot(): Promise<void> {
    return Promise.reject(new BlockError('ENOTSUP', 'no snapshot'))
  }

  snapshotStatus(): Promise<BlockStatus> {
    return Promise.reject(new BlockError('ENOTSUP', 'no snapshot'))
  }

  debugEvent(event: string): Promise<void> | undefined {
    this.log.push(`(${event})`)
    return undefined
  }

  /** The log since the last call, without events or with nothing else. */
  take(what: 'calls' | 'events' = 'calls'): string[] {
    const log = this.log.filter((line) => line.startsWith('(') === (what === 'events'))
    this.log = []
    return log
  }

  private note(call: string): Promise<void> {
    this.log.push(call)
    return this.before(call) ?? done
  }

  followReads() {
    return { ended: async () => undefined, forget: () => undefined }
  }

  private grow(size: number): void {
    if (size <= this.size) return
    const bytes = new Uint8Array(size)
    bytes.set(this.bytes)
    this.bytes = bytes
  }
}

function hex(offset: number): string {
  return `0x${offset.toString(16)}`
}

const createDefaults = {
  size: 64 * 1024 * 1024,
  clusterSize: 65536,
  refcountBits: 16,
  compat: 'v3',
  preallocation: 'off',
  lazyRefcounts: false,
  compressionType: 'zlib',
  extendedL2: false,
}

/** An image over a {@link FakeFile}, without a graph around it. */
export interface FakeImage {
  readonly file: FakeFile
  readonly state: Qcow2State
  readonly image: Qcow2Image
  readonly warnings: string[]
}

/** Creates and opens an image over a new file, or opens one over `given`. */
export async function fakeImage(
  createOptions: Record<string, unknown> = {},
  options: Record<string, unknown> = {},
  given?: { readonly file?: FakeFile; readonly backing?: FakeFile },
): Promise<FakeImage> {
  const file = given?.file ?? new FakeFile()
  const handles: Record<string, ChildHandle | undefined> = { file, backing: given?.backing }
  const children: Children = { get: (name) => handles[name], require: () => file, list: () => [] }
  const warnings: string[] = []
  if (given?.file === undefined) {
    const values = { ...createDefaults, ...createOptions }
    const making = {
      options: values,
      children,
      signal: undefined,
      clock: systemClock,
      random: systemRandom,
      secret: () => new Uint8Array(),
      createFile: () => Promise.reject(new BlockError('ENOTSUP', 'one file only')),
      describe: () => Promise.reject(new BlockError('ENOTSUP', 'nothing to refer to')),
      warn: (text: string) => void warnings.push(text),
    }
    await create(making)
  }
  const context = {
    options,
    nodeName: 'disk',
    readOnly: file.readOnly,
    autoReadOnly: false,
    cache: { direct: false, noFlush: false },
    discard: 'unmap',
    inspect: false,
    check: false,
    children,
    contain: undefined,
    signal: undefined,
    reference: async () => handles.backing,
    becomeReadOnly: () => {},
    secret: () => new Uint8Array(),
    emit: () => {},
    warn: (text: string) => void warnings.push(text),
    clock: systemClock,
    random: systemRandom,
    inBackground: (work) => work(),
    object: () => undefined,
    bitmap: () => {
      throw new Error('there are no bitmaps here')
    },
  } as OpenContext
  const state = await openState(context)
  if (!file.readOnly) await activate(state)
  file.log = []
  return { file, state, image: new Qcow2Image(state), warnings }
}
