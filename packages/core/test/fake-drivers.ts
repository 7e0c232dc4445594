/**
 * Drivers whose every step a test decides. Each step of an image (`a.read`, `a.permissions`, `a.close` …) is logged
 * under the name of its node, may be held until the test lets it go, and may fail.
 */

import { type OpenContext, type OpenImage, Passthrough, type PermissionHooks, type Prepared } from '../src/driver.ts'
import { BlockError, type DriverDescriptor, Flag, Graph, Node, Permission } from '../src/index.ts'
import { topBase } from '../src/options/base-options.ts'

/** A step that is held: `arrived` resolves when an image comes to it. */
export interface Gate {
  readonly arrived: Promise<void>
  open(): void
}

interface HeldStep {
  arrive(): void
  readonly opened: Promise<void>
}

/** See the top of the file. */
export class FakeDrivers {
  readonly log: string[] = []
  readonly content = new Map<string, Uint8Array>()
  /** What the images look like, by node name, over what the fake has anyway. */
  readonly extra = new Map<string, Partial<OpenImage>>()
  readonly warnings: string[] = []
  readonly #gates = new Map<string, HeldStep[]>()
  readonly #failures = new Map<string, { after: number; readonly error: unknown }>()

  /** A graph that knows these drivers and `more`. */
  graph(more: readonly DriverDescriptor[] = [], settings: Partial<ConstructorParameters<typeof Graph>[0]> = {}): Graph {
    const drivers = [this.disk, this.filter, this.many, this.overlay, ...more]
    return new Graph({ drivers, onWarning: (message) => this.warnings.push(message), ...settings })
  }

  /** Holds the next time that `step` (`a.read`) is come to. */
  hold(step: string): Gate {
    let arrive = (): void => undefined
    let open = (): void => undefined
    const arrived = new Promise<void>((resolve) => {
      arrive = resolve
    })
    const opened = new Promise<void>((resolve) => {
      open = resolve
    })
    this.#gates.set(step, [...(this.#gates.get(step) ?? []), { arrive, opened }])
    return { arrived, open }
  }

  /** Lets `step` fail once, after it went well `after` times. */
  fail(step: string, error: unknown = new BlockError('EIO', `${step} fails`), after = 0): void {
    this.#failures.set(step, { after, error })
  }

  /** One step of an image. */
  async step(step: string): Promise<void> {
    this.log.push(step)
    const gate = this.#gates.get(step)?.shift()
    if (gate !== undefined) {
      gate.arrive()
      await gate.opened
    }
    this.strike(step)
  }

  /** Fails if `step` is to fail. */
  strike(step: string): void {
    const failure = this.#failures.get(step)
    if (failure === undefined || failure.after-- > 0) return
    this.#failures.delete(step)
    throw failure.error
  }

  /** The bytes of disk `name`. */
  bytes(name: string): Uint8Array {
    return this.content.get(name) as Uint8Array
  }

  /** A RAM disk with all that a protocol can have. */
  readonly disk: DriverDescriptor = {
    name: 'disk',
    kind: 'protocol',
    description: 'RAM disk with steps',
    options: {
      disk: { type: 'string', description: 'name of the content; default: the name of the node' },
      size: { type: 'integer', default: 4096, description: 'bytes of a new content' },
      mode: { type: 'string', default: '', reopen: true, description: 'anything' },
    },
    prefixes: ['disk'],
    parseFilename: (filename) => ({ disk: filename.slice(5), nodeName: filename.slice(5) }),
    formatFilename: ({ disk }) => (disk === undefined ? undefined : `disk:${disk}`),
    open: async (context) => {
      await this.step(`${context.nodeName}.open`)
      return this.#image(context)
    },
  }

  #image({ options, nodeName: name }: OpenContext): OpenImage {
    const disk = (options.disk as string | undefined) ?? name
    if (!this.content.has(disk)) this.content.set(disk, new Uint8Array(options.size as number))
    const bytes = (): Uint8Array => this.bytes(disk)
    const resize = (size: number): void => {
      const next = new Uint8Array(size)
      next.set(bytes().subarray(0, size))
      this.content.set(disk, next)
    }
    return {
      get size() {
        return bytes().length
      },
      writeFlags: Flag.Fua | Flag.Unchanged,
      read: async (offset, buf) => {
        await this.step(`${name}.read`)
        buf.set(bytes().subarray(offset, offset + buf.length))
      },
      write: async (offset, buf) => {
        await this.step(`${name}.write`)
        if (offset + buf.length > bytes().length) resize(offset + buf.length)
        bytes().set(buf, offset)
      },
      flush: () => this.step(`${name}.flush`),
      truncate: async (size) => {
        await this.step(`${name}.truncate`)
        resize(size)
      },
      discard: async (offset, length) => {
        await this.step(`${name}.discard`)
        bytes().fill(0, offset, offset + length)
      },
      blockStatus: async (_offset, length) => {
        await this.step(`${name}.status`)
        return { length, data: true, zero: false, allocated: true }
      },
      check: async () => {
        await this.step(`${name}.check`)
        return { checkErrors: 0, corruptions: 0, leaks: 0, corruptionsFixed: 0, leaksFixed: 0 }
      },
      amend: () => this.step(`${name}.amend`),
      snapshots: {
        list: () => [],
        create: async ({ name: snapshot }) => {
          await this.step(`${name}.snapshot-create`)
          return { id: '1', name: snapshot, vmStateSize: 0, dateSeconds: 0, dateNanoseconds: 0, vmClockNanoseconds: 0 }
        },
        apply: () => this.step(`${name}.snapshot-apply`),
        delete: () => this.step(`${name}.snapshot-delete`),
        load: () => this.step(`${name}.snapshot-load`),
      },
      info: async () => {
        await this.step(`${name}.info`)
        return {}
      },
      ...this.#hooks(name),
      ...this.extra.get(name),
    }
  }

  /** What every fake has: preparations and drained sections. */
  #hooks(name: string): Partial<OpenImage> {
    return {
      close: () => this.step(`${name}.close`),
      drainBegin: () => this.step(`${name}.drain-begin`),
      drainEnd: () => void this.log.push(`${name}.drain-end`),
      permissions: this.#permissions(name),
      reopen: () => this.#prepare(`${name}.reopen`),
    }
  }

  /** `a.permissions` is a step that takes something, `a.loosening` one that only gives back,
   * `a.keeping` neither. */
  #permissions(name: string): PermissionHooks {
    let held = { permissions: 0, shared: Permission.All as number }
    return {
      prepare: (permissions, shared) => {
        const less = (permissions & ~held.permissions) === 0 && (held.shared & ~shared) === 0
        const same = permissions === held.permissions && shared === held.shared
        const step = same ? 'keeping' : less ? 'loosening' : 'permissions'
        return this.#prepare(`${name}.${step}`, () => {
          held = { permissions, shared }
        })
      },
    }
  }

  async #prepare(step: string, commit: () => void = () => undefined): Promise<Prepared> {
    await this.step(step)
    return {
      commit: () => {
        this.log.push(`${step}.commit`)
        commit()
      },
      abort: () => void this.log.push(`${step}.abort`),
    }
  }

  /** A filter with steps. */
  readonly filter: DriverDescriptor = {
    name: 'filter',
    kind: 'filter',
    description: 'forwards everything',
    options: {
      file: { type: 'child', role: 'filtered', required: true, description: 'filtered node' },
      mode: { type: 'string', default: '', reopen: true, description: 'anything' },
    },
    open: async ({ children, nodeName }) => {
      await this.step(`${nodeName}.open`)
      const image = new Passthrough(children.require('file'))
      return Object.assign(image, this.#hooks(nodeName), this.extra.get(nodeName))
    },
  }

  /** Writes to all of a list of children, reads from the first. */
  readonly many: DriverDescriptor = {
    name: 'many',
    kind: 'format',
    description: 'a list of equal children',
    options: {
      children: { type: 'children', role: 'replica', minimum: 1, description: 'equal nodes' },
      spare: { type: 'child', role: 'data', description: 'one more' },
    },
    open: async ({ children, nodeName: name }) => {
      await this.step(`${name}.open`)
      const list = () => children.list('children')
      return {
        get size() {
          return list()[0]?.size ?? 0
        },
        writeFlags: Flag.Fua,
        read: async (offset, buf) => list()[0]?.read(offset, buf),
        write: async (offset, buf, flags) => {
          await Promise.all(list().map((child) => child.write(offset, buf, flags)))
        },
        checkChild: (child, node) => {
          this.log.push(`${name}.check-child ${child}=${node?.size}`)
          this.strike(`${name}.check-child`)
        },
        childrenChanged: (child) => void this.log.push(`${name}.changed ${child}`),
        ...this.#hooks(name),
        ...this.extra.get(name),
      }
    },
  }

  /** A format whose first child holds all, with a backing file that shows where its own bytes are zero. */
  readonly overlay: DriverDescriptor = {
    name: 'overlay',
    kind: 'format',
    description: 'bytes that are zero show the backing file',
    options: {
      file: { type: 'child', role: 'storage', required: true, description: 'storage' },
      backing: { type: 'child', role: 'cow', description: 'backing file' },
    },
    probe: (head) => (head[0] === 79 && head[1] === 86 ? 100 : 0),
    open: async ({ children, nodeName: name, reference }) => {
      await this.step(`${name}.open`)
      const file = children.require('file')
      await reference('backing', { filename: '' }).catch(() => undefined)
      return {
        get size() {
          return file.size
        },
        writeFlags: Flag.Fua,
        read: async (offset, buf) => {
          const below = new Uint8Array(buf.length)
          await Promise.all([file.read(offset, buf), children.get('backing')?.read(offset, below)])
          for (const [i, byte] of below.entries()) if (buf[i] === 0) buf[i] = byte
        },
        write: (offset, buf, flags) => file.write(offset, buf, flags),
        truncate: (size) => file.truncate(size),
        ...this.#hooks(name),
        ...this.extra.get(name),
      }
    },
  }
}

/** Everything of a graph that a change may change and a failed one must not have. */
export function stateOf(graph: Graph): unknown {
  return {
    roots: [...graph.roots]
      .map(({ edge, admitted }) => [edge.node.name, edge.permissions, edge.shared, admitted].join(' '))
      .sort(),
    nodes: [...graph.nodes]
      .map((node) => ({
        name: node.name,
        held: [node.explicit, node.pins, node.quiesced, node.activity.count],
        modes: [node.readOnly, node.discardMode, node.detectZeroes, node.cache, node.options],
        size: node.size,
        permissions: [node.permissions, node.shared],
        parents: [...node.parents].map((edge) => `${edge.parentName}.${edge.name}`).sort(),
        children: [...node.children].map(([name, edge]) => [name, edge.node.name, edge.permissions, edge.shared]),
      }))
      .sort((a, b) => (a.name < b.name ? -1 : 1)),
  }
}

/** Lets everything that can go on without the test go on. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve))
}

/** Whether `work` has not ended although everything that could go on went on. */
export async function isPending(work: Promise<unknown>): Promise<boolean> {
  let pending = true
  const end = (): void => {
    pending = false
  }
  work.then(end, end)
  await settle()
  return pending
}

/** The names of the children of each node, by the names that its parent has for them. */
export function shape(graph: Graph): Record<string, Record<string, string>> {
  const entries = [...graph.nodes].map((node) => [
    node.name,
    Object.fromEntries([...node.children].map(([name, edge]) => [name, edge.node.name])),
  ])
  return Object.fromEntries(entries)
}

/** A node of a protocol, in no graph, without an image. */
export function bareNode(base: Partial<typeof topBase> = {}): Node {
  const { disk: driver } = new FakeDrivers()
  return new Node({ ...topBase, ...base, name: 'n', driver, options: {}, filename: '', children: new Map() })
}
