import { type Disk, Graph } from '@diskgraph/core'
import { type DriverDescriptor, describeErrorCode, Flag, isBlockError } from '@diskgraph/core/driver'
import type { Definition } from '../conformance/fixture.ts'
import { MemoryFiles } from '../memory-files.ts'
import { QemuIo, runTool } from '../tools.node.ts'
import { qemuIoCommand, type Step } from './steps.ts'

/** What the two images of a comparison are. */
export interface SideSettings {
  readonly driver: DriverDescriptor
  readonly drivers?: readonly DriverDescriptor[]
  readonly options?: Definition
  readonly createOptions?: Definition
  /** The name of the format for `qemu-img -f`, and the text after `-o`. */
  readonly format: string
  readonly qemuCreateOptions?: string
  readonly size: number
  /** Gives both images the same raw backing file, three quarters as long as the disk. */
  readonly backing?: {
    /** The child option of the driver. */
    readonly option: string
    /** Create options that name the file at `path` as a raw backing file. */
    createOptions(path: string): Definition
  }
}

/** How a step ended on one side. */
export interface Outcome {
  /** The words of the C library for the error; undefined when the step succeeded. */
  readonly error: string | undefined
  /** What a read read. */
  readonly data?: Uint8Array
}

const good: Outcome = { error: undefined }

/** The image of the driver under test, in memory. */
export class OurSide {
  readonly files = new MemoryFiles()
  readonly #settings: SideSettings
  readonly #basePath: string
  #graph: Graph | undefined
  #disk: Disk | undefined

  constructor(settings: SideSettings, basePath: string) {
    this.#settings = settings
    this.#basePath = basePath
  }

  async create(): Promise<void> {
    const { driver, size, createOptions = {}, backing } = this.#settings
    const reference = backing?.createOptions(this.#basePath)
    this.files.put('image')
    await using graph = this.#newGraph()
    const file = { driver: 'testkit-file', name: 'image' }
    await graph.createUnchecked({ driver: driver.name, size, ...createOptions, ...reference, file })
  }

  async open(): Promise<Disk> {
    const { driver, options = {}, backing } = this.#settings
    this.#graph = this.#newGraph()
    const file = { driver: 'testkit-file', name: 'image' }
    const below = backing === undefined ? {} : { [backing.option]: { driver: 'testkit-file', name: 'base' } }
    this.#disk = await this.#graph.addUnchecked({ driver: driver.name, discard: 'unmap', ...options, file, ...below })
    return this.#disk
  }

  async close(): Promise<void> {
    const graph = this.#graph
    this.#graph = undefined
    await graph?.close()
  }

  async perform(step: Step): Promise<Outcome> {
    try {
      return await this.#perform(step, this.#disk as Disk)
    } catch (error) {
      if (!isBlockError(error)) throw error
      return { error: describeErrorCode(error.code) }
    }
  }

  async #perform(step: Step, disk: Disk): Promise<Outcome> {
    switch (step.kind) {
      case 'write':
        await disk.write(step.offset, new Uint8Array(step.length).fill(step.pattern), step.fua ? Flag.Fua : 0)
        return good
      case 'compressed':
        await disk.write(step.offset, new Uint8Array(step.length).fill(step.pattern), Flag.Compressed)
        return good
      case 'zeroes':
        await disk.writeZeroes(step.offset, step.length, step.unmap ? Flag.MayUnmap : 0)
        return good
      case 'discard':
        await disk.discard(step.offset, step.length)
        return good
      case 'read': {
        const data = new Uint8Array(step.length)
        await disk.read(step.offset, data)
        return { error: undefined, data }
      }
      case 'truncate':
        await disk.truncate(step.size)
        return good
      case 'flush':
        await disk.flush()
        return good
      case 'reopen':
        await this.close()
        await this.open()
        return good
      case 'snapshot-create':
        await disk.snapshots.create({ name: step.name })
        return good
      case 'snapshot-apply':
        await disk.snapshots.apply(step.name)
        return good
      case 'snapshot-delete':
        await disk.snapshots.delete(step.name)
        return good
    }
  }

  #newGraph(): Graph {
    const { driver, drivers = [] } = this.#settings
    return new Graph({ drivers: [driver, ...drivers, this.files.driver], onWarning: () => undefined })
  }
}

/** The twin of qemu-img and qemu-io, a file. */
export class TheirSide {
  readonly path: string
  readonly #settings: SideSettings
  readonly #basePath: string
  #io: QemuIo | undefined
  /** The process has written compressed data. */
  #hasCompressed = false

  constructor(settings: SideSettings, path: string, basePath: string) {
    this.#settings = settings
    this.path = path
    this.#basePath = basePath
  }

  async create(): Promise<void> {
    const { format, size, qemuCreateOptions, backing } = this.#settings
    const options = qemuCreateOptions === undefined ? [] : ['-o', qemuCreateOptions]
    if (backing !== undefined) options.push('-b', this.#basePath, '-F', 'raw')
    const result = await runTool('qemu-img', ['create', '-q', '-f', format, ...options, this.path, String(size)])
    if (result.status !== 0) throw new Error(`qemu-img create: ${result.stderr}`)
  }

  open(): void {
    this.#hasCompressed = false
    this.#io = new QemuIo(['-t', 'unsafe', '-d', 'unmap', '-f', this.#settings.format, this.path])
  }

  async close(): Promise<void> {
    const io = this.#io
    this.#io = undefined
    await io?.close()
  }

  async perform(step: Step): Promise<Outcome> {
    const command = qemuIoCommand(step)
    if (step.kind === 'compressed') await this.#forgetCompressed()
    if (command !== undefined) return outcomeOf(step, await (this.#io as QemuIo).command(command))
    await this.close()
    try {
      return await this.#offline(step)
    } finally {
      this.open()
    }
  }

  /**
   * Before a second compressed write, starts a new process. QEMU 7.2 remembers where the last compressed data ended
   * even when that cluster has been freed and reused since, and then writes into the data of its new owner.
   */
  async #forgetCompressed(): Promise<void> {
    if (this.#hasCompressed) {
      await this.close()
      this.open()
    }
    this.#hasCompressed = true
  }

  async #offline(step: Step): Promise<Outcome> {
    if (step.kind === 'reopen') return good
    const flag = { 'snapshot-create': '-c', 'snapshot-apply': '-a', 'snapshot-delete': '-d' }[step.kind as string]
    const name = (step as { name: string }).name
    const result = await runTool('qemu-img', ['snapshot', flag as string, name, this.path])
    return result.status === 0 ? good : { error: lastWords(result.stderr) }
  }
}

function outcomeOf(step: Step, answer: string): Outcome {
  const lines = answer.split('\n')
  const last = lines[lines.length - 1] ?? ''
  if (step.kind === 'truncate' || step.kind === 'flush') return answer === '' ? good : { error: lastWords(answer) }
  if (!/^(wrote|read|discard) \d+\/\d+ bytes at offset \d+$/.test(last)) return { error: lastWords(answer) }
  return step.kind === 'read' ? { error: undefined, data: parseDump(lines, step.length) } : good
}

/** The text behind the last colon; in the words of the C library where qemu-img has its own. */
function lastWords(text: string): string {
  const line = text.trim().split('\n').pop() ?? ''
  const colon = line.lastIndexOf(': ')
  const words = colon < 0 ? line : line.slice(colon + 2)
  return words === 'snapshot not found' ? describeErrorCode('ENOENT') : words
}

/** The bytes of a dump of qemu-io: lines of an offset, sixteen bytes, and the same as text. */
function parseDump(lines: readonly string[], length: number): Uint8Array {
  const data = new Uint8Array(length)
  let at = 0
  for (const line of lines) {
    const match = /^[0-9a-f]{8,16}: {2}((?:[0-9a-f]{2} ){1,16})/.exec(line)
    for (const byte of (match?.[1] ?? '').trim().split(' ')) {
      if (byte !== '' && at < length) data[at++] = Number.parseInt(byte, 16)
    }
  }
  return data
}
