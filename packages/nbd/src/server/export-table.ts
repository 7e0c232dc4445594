/** The exports of a server. */
import { BlockError, type DirtyBitmap, type Disk, type Graph, type Node } from '@diskgraph/core'
import { kindOf } from '@diskgraph/core/internal'
import { checkedExport, type ExportSettings, exportPermissions, NbdExport } from './export.ts'

/** The exports of a server by id, in the order they were added. */
export class ExportTable implements Iterable<NbdExport> {
  readonly #graph: Graph
  readonly #exports = new Map<string, NbdExport>()
  /** Until a new one has its place in the graph. */
  readonly #additions = new Map<NbdExport, Promise<unknown>>()
  readonly #removals = new Map<NbdExport, Promise<void>>()
  #closed = false

  constructor(graph: Graph) {
    this.#graph = graph
  }

  /** The exports; what `JSON.stringify` tells. */
  toJSON(): readonly NbdExport[] {
    return [...this]
  }

  [Symbol.iterator](): IterableIterator<NbdExport> {
    return this.#exports.values()
  }

  get(id: string): NbdExport | undefined {
    return this.#exports.get(id)
  }

  /** The export that clients get by `name`. */
  named(name: string): NbdExport | undefined {
    for (const one of this) if (one.name === name && !one.shuttingDown) return one
    return undefined
  }

  /**
   * Exports a node, which stays while it is exported. EINVAL when the id or the name is taken or a bitmap is missing,
   * EPERM when the node is read-only, or other users do not share what is needed, ENODEV when the server is closed.
   */
  async add(node: Node | Disk | string, given: ExportSettings = {}): Promise<NbdExport> {
    const settings = checkedExport(given)
    const target = this.#nodeOf(node)
    if (settings.writable && target.readOnly) {
      throw new BlockError('EPERM', `Cannot export read-only node '${target.name}' as writable`)
    }
    const bitmaps = await this.#bitmaps(target, settings)
    if (this.#closed) throw closedError()
    const added = new NbdExport(target, settings, bitmaps)
    if (this.#exports.has(added.id)) throw new BlockError('EINVAL', `Block export id '${added.id}' is already in use`)
    if (this.named(added.name) !== undefined) {
      throw new BlockError('EINVAL', `NBD server already has export named '${added.name}'`)
    }
    this.#exports.set(added.id, added)
    const attached = this.#graph.attachRoot(added.root, { permissions: exportPermissions(added.writable) })
    this.#additions.set(added, attached)
    try {
      await attached
    } catch (error) {
      this.#exports.delete(added.id)
      throw error
    } finally {
      this.#additions.delete(added)
    }
    if (this.#closed) throw closedError()
    return added
  }

  /**
   * Takes an export away. `safe` refuses while a client uses it (EBUSY), `hard` drops those clients. Resolves when the
   * node is let go of, and tells BLOCK_EXPORT_DELETED.
   */
  async remove(id: string, mode: 'safe' | 'hard' = 'safe'): Promise<void> {
    const found = this.#exports.get(id)
    if (found === undefined) throw new BlockError('ENOENT', `Export '${id}' is not found`)
    if (mode !== 'safe' && mode !== 'hard') {
      throw new BlockError('EINVAL', `an export is removed 'safe' or 'hard', not '${String(mode)}'`)
    }
    if (mode === 'safe' && found.users.size > 0) throw new BlockError('EBUSY', `export '${id}' still in use`)
    found.shuttingDown = true
    let removal = this.#removals.get(found)
    if (removal === undefined) {
      removal = this.#drain(found)
      this.#removals.set(found, removal)
    }
    return removal
  }

  /** Removes all exports, and takes no more. */
  async close(): Promise<void> {
    this.#closed = true
    await Promise.all([...this.#exports.keys()].map((id) => this.remove(id, 'hard')))
  }

  async #drain(removed: NbdExport): Promise<void> {
    await this.#additions.get(removed)?.catch(() => {})
    if (this.#exports.get(removed.id) !== removed) return
    const users = [...removed.users]
    for (const user of users) user.drop()
    await Promise.all(users.map(({ gone }) => gone))
    try {
      await this.#graph.detachRoot(removed.root)
    } finally {
      this.#exports.delete(removed.id)
      this.#removals.delete(removed)
      this.#graph.emit({ event: 'BLOCK_EXPORT_DELETED', data: { id: removed.id } })
    }
  }

  #nodeOf(node: Node | Disk | string): Node {
    if (typeof node === 'object' && node !== null) return 'node' in node ? node.node : node
    if (typeof node !== 'string') {
      throw new BlockError('EINVAL', `exports.add needs a node, a disk or the name of a node, not ${kindOf(node)}`)
    }
    const found = this.#graph.find(node)
    if (found === undefined) throw new BlockError('ENOENT', `Cannot find device='' nor node-name='${node}'`)
    return found
  }

  async #bitmaps(node: Node, { bitmaps = [], writable }: ExportSettings): Promise<DirtyBitmap[]> {
    const found: DirtyBitmap[] = []
    for (const wanted of bitmaps) {
      const bitmap = typeof wanted === 'string' ? await findBitmap(node, wanted) : wanted
      refuseInconsistent(bitmap)
      found.push(bitmap)
    }
    // It would go on recording, while clients that only read take it for fixed.
    const live = writable || node.readOnly ? undefined : found.find(({ enabled }) => enabled)
    if (live === undefined) return found
    throw new BlockError('EINVAL', `Enabled bitmap '${live.name}' incompatible with readonly export`)
  }
}

function closedError(): BlockError {
  return new BlockError('ENODEV', 'the server is closed, and exports nothing more')
}

/** The bitmap called `name` of `node` or of an image below it. */
async function findBitmap(node: Node, name: string): Promise<DirtyBitmap> {
  for (let at: Node | undefined = node; at !== undefined; at = below(at)) {
    const found = at.dirtyBitmaps.find((bitmap) => bitmap.name === name)
    if (found !== undefined) return found
  }
  throw new BlockError('ENOENT', `Bitmap '${name}' is not found`)
}

function refuseInconsistent({ name, inconsistent }: DirtyBitmap): void {
  if (!inconsistent) return
  throw new BlockError('EINVAL', `Bitmap '${name}' is inconsistent and cannot be used`, {
    hint:
      `Bitmap '${name}' was not stored after its last use, so nobody knows what it has marked. Export the disk without ` +
      'it, or remove it (block-dirty-bitmap-remove, or "bitmap --remove" of the image tool) and begin to record anew',
  })
}

function below(node: Node): Node | undefined {
  return (node.filtered ?? node.backing)?.node
}
