/** The drivers that a graph knows, by name. */
import type { DriverDescriptor } from '../contract/descriptor.ts'
import { BlockError } from '../errors.ts'
import type { Node } from '../graph/node.ts'
import { nearestName } from '../options/names.ts'
import { foreignFooter, headFormats, mayBe, refuseForeignFormat, signatureTailLength } from './signatures.ts'

/** A driver that is loaded when it is first needed. */
export interface LazyDriver {
  readonly name: string
  readonly kind: DriverDescriptor['kind']
  readonly prefixes?: readonly string[]
  /** Without one a format is loaded to be asked, unless its signature is known and does not stand there. */
  readonly probe?: DriverDescriptor['probe']
  readonly claimsPath?: DriverDescriptor['claimsPath']
  load(): Promise<DriverDescriptor>
}

/** Finds a driver that was not registered, by its name; undefined if there is none. */
export type DriverResolver = (name: string) => Promise<DriverDescriptor | undefined>

type Entry = DriverDescriptor | LazyDriver

/** A short file is as if zeroes followed: a header that is cut off is still one. */
const probedLength = 2048

/** The drivers of one graph: by name, by prefix of file names, by the first bytes of an image. */
export class Registry {
  readonly #entries = new Map<string, Entry>()
  readonly #byPrefix = new Map<string, Entry>()
  readonly #resolve: DriverResolver | undefined

  constructor(drivers: Iterable<Entry>, resolve?: DriverResolver) {
    for (const driver of drivers) this.#add(driver)
    this.#resolve = resolve
  }

  #add(driver: Entry): void {
    if (typeof driver?.name !== 'string' || !('open' in driver || 'load' in driver)) {
      throw new BlockError('EINVAL', 'a driver in the list is no descriptor', {
        hint: 'pass what the package exports, not the package: { raw } of @diskgraph/driver-raw',
      })
    }
    if (this.#entries.has(driver.name)) {
      throw new BlockError('EINVAL', `driver '${driver.name}' is registered twice`)
    }
    this.#entries.set(driver.name, driver)
    for (const prefix of driver.prefixes ?? []) this.#byPrefix.set(prefix, driver)
  }

  /** Names of the registered drivers, sorted. */
  get names(): string[] {
    return [...this.#entries.keys()].sort()
  }

  /** A driver by name, or given as it is: a filter that a program makes itself need not be registered. */
  async of(driver: unknown): Promise<DriverDescriptor> {
    if (typeof driver === 'object' && driver !== null && 'open' in driver) return driver as DriverDescriptor
    if (driver === undefined) throw new BlockError('EINVAL', "A value is required for option 'driver'")
    return this.get(String(driver))
  }

  /** The driver called `name`, loaded. ENOTSUP if there is none. */
  async get(name: string): Promise<DriverDescriptor> {
    const entry = this.#entries.get(name)
    if (entry !== undefined) return this.#loaded(entry)
    const found = await this.#resolve?.(name)
    if (found !== undefined) return this.#found(found)
    const near = nearestName(name, this.names)
    throw new BlockError('ENOTSUP', `Unknown driver '${name}'`, {
      hint:
        (near === undefined ? '' : `did you mean '${near}'? `) +
        `no driver of that name is registered: pass one, of a package that has it, to new Graph({ drivers: [...] })`,
    })
  }

  /** The driver whose file names begin with `prefix` and a colon. */
  async forPrefix(prefix: string): Promise<DriverDescriptor | undefined> {
    const entry = this.#byPrefix.get(prefix)
    if (entry !== undefined) return this.#loaded(entry)
    const found = await this.#resolve?.(prefix)
    if (found?.prefixes?.includes(prefix)) {
      return this.#found(found)
    }
    return undefined
  }

  /** A driver that the resolver found; several may ask for it at once, and by other names than its own. */
  #found(driver: DriverDescriptor): DriverDescriptor {
    if (!this.#entries.has(driver.name)) this.#add(driver)
    return driver
  }

  /** The protocol that a plain path belongs to: `file`, unless another one claims it. */
  async forPath(path: string): Promise<string> {
    for (const { name, claimsPath } of this.#entries.values()) {
      if (claimsPath !== undefined && (await claimsPath(path))) return name
    }
    return 'file'
  }

  /** The name of the format that claims `head` most surely; `raw` when none does. */
  async probe(head: Uint8Array, filename: string): Promise<string> {
    let best = 'raw'
    let bestScore = 0
    for (const entry of this.#entries.values()) {
      // Raw is what is left when no other format stands there.
      if (entry.kind !== 'format' || entry.name === 'raw') continue
      const isUnknown = entry.probe === undefined && 'load' in entry
      if (isUnknown && !mayBe(entry.name, head)) continue
      const probing = isUnknown ? await this.#loaded(entry) : entry
      const score = probing.probe?.(head, filename) ?? 0
      if (score > bestScore) {
        best = entry.name
        bestScore = score
      }
    }
    return best
  }

  /** The name of the format in `node`, by its first bytes. ENOTSUP for an image of a format that has no driver here. */
  async probeNode(node: Node): Promise<string> {
    const head = new Uint8Array(probedLength)
    await node.read(0, head.subarray(0, node.size), 0)
    const format = await this.probe(head, node.filename)
    if (format !== 'raw') return format
    const tail = new Uint8Array(Math.min(signatureTailLength, node.size))
    await node.read(node.size - tail.length, tail, 0)
    const entry = this.#entries.get(foreignFooter(tail) ?? '')
    if (entry !== undefined && (await this.#loaded(entry)).probeTail?.(tail) === true) return entry.name
    await refuseForeignFormat(node, node.filename, this.names)
    return format
  }

  /** Whether a format other than raw claims `head`; only drivers that need no loading are asked. */
  looksFormatted(head: Uint8Array, filename: string): boolean {
    if (headFormats(head).length > 0) return true
    for (const entry of this.#entries.values()) {
      if (entry.kind === 'format' && entry.name !== 'raw' && (entry.probe?.(head, filename) ?? 0) > 1) return true
    }
    return false
  }

  async #loaded(entry: Entry): Promise<DriverDescriptor> {
    if (!('load' in entry)) return entry
    const driver = await entry.load()
    this.#entries.set(entry.name, driver)
    for (const prefix of entry.prefixes ?? []) this.#byPrefix.set(prefix, driver)
    return driver
  }
}
