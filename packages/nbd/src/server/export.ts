/** A disk that a server shows under a name. */
import { BlockError, type DirtyBitmap, type Node, Permission, Root } from '@diskgraph/core'
import { checkSettings, due, hasMethod, type Inspect, inspected, inspection, rule } from '@diskgraph/core/internal'
import { textBytes } from '../wire/bytes.ts'
import { NBD_MAX_STRING_SIZE, TransmissionFlag } from '../wire/protocol.ts'
import { type MetaContext, metaContexts } from './meta-contexts.ts'

/** What is exported, and how. */
export interface ExportSettings {
  /** Names it in the table. Default: its name. */
  readonly id?: string
  /** What clients ask for; empty for the default export. Default: the name of the node. */
  readonly name?: string
  readonly description?: string
  /** Clients may write. Default false. */
  readonly writable?: boolean
  /** Every write is on stable storage before it is answered. Default false. */
  readonly writethrough?: boolean
  /** Dirty bitmaps that clients may ask for, by name or as they are. */
  readonly bitmaps?: readonly (string | DirtyBitmap)[]
  /** Clients may ask which image of the backing chain has the data. Default false. */
  readonly allocationDepth?: boolean
}

/** An entry of the export table. */
export class NbdExport {
  readonly id: string
  readonly name: string
  readonly description: string | undefined
  readonly writable: boolean
  /** Requests of all clients go through it; their numbers are in its `statistics`. */
  readonly root: Root
  readonly contexts: readonly MetaContext[]
  /** It is being removed: no new client gets it. */
  shuttingDown = false
  /** Clients that use it. */
  readonly users = new Set<ExportUser>()

  constructor(node: Node, settings: ExportSettings, bitmaps: readonly DirtyBitmap[]) {
    const { name = node.name, id = name, description, writable = false, writethrough = false } = settings
    this.id = id
    this.name = name
    this.description = description
    this.writable = writable
    this.root = new Root(node, {
      description: `NBD export '${name}'`,
      permissions: exportPermissions(writable),
      writethrough,
    })
    this.contexts = metaContexts(settings.allocationDepth === true, bitmaps)
  }

  get nodeName(): string {
    return this.root.node.name
  }

  /** Size in bytes, now. */
  get size(): number {
    return this.root.size
  }

  /** The transmission flags for a client that does, or does not, take structured replies. */
  flags(structured: boolean, multiConn: boolean): number {
    const f = TransmissionFlag
    return (
      f.NBD_FLAG_HAS_FLAGS |
      f.NBD_FLAG_SEND_FLUSH |
      f.NBD_FLAG_SEND_FUA |
      f.NBD_FLAG_SEND_CACHE |
      (this.writable
        ? f.NBD_FLAG_SEND_TRIM | f.NBD_FLAG_SEND_WRITE_ZEROES | f.NBD_FLAG_SEND_FAST_ZERO
        : f.NBD_FLAG_READ_ONLY) |
      // All clients share one root, and with it all caches below: a flush of one covers the writes of all.
      (multiConn ? f.NBD_FLAG_CAN_MULTI_CONN : 0) |
      (structured ? f.NBD_FLAG_SEND_DF : 0)
    )
  }

  /** What is worth knowing of the export. */
  toJSON(): Readonly<Record<string, unknown>> {
    const { id, name, description, writable, nodeName, size, shuttingDown } = this
    return { id, name, description, writable, nodeName, size, shuttingDown, clients: this.users.size }
  }

  [inspection](_depth: number, options: object, inspect: Inspect): string {
    return inspected('NbdExport', this, options, inspect)
  }
}

/** Who uses an export: a connection. */
export interface ExportUser {
  /** Ends it at once. */
  drop(): void
  /** Resolves when it has ended. */
  readonly gone: Promise<void>
}

/** What an export does with its node. It lets others do everything, as clients expect of shared storage. */
export function exportPermissions(writable: boolean): { readonly permissions: number; readonly shared: number } {
  const { ConsistentRead, Write, All, BackingChange } = Permission
  return { permissions: ConsistentRead | (writable ? Write : 0), shared: All | BackingChange }
}

const rules = {
  id: due.text,
  name: due.text,
  description: due.text,
  writable: due.flag,
  writethrough: due.flag,
  bitmaps: rule('a list of bitmaps, or of their names', (value) => Array.isArray(value) && value.every(isBitmap)),
  allocationDepth: due.flag,
}

/** `settings`, checked. EINVAL for those that are none, and for texts that the protocol cannot carry. */
export function checkedExport(settings: ExportSettings): ExportSettings {
  checkSettings('exports.add', rules, settings)
  const { name, description } = settings
  if (name !== undefined && textBytes(name).length > NBD_MAX_STRING_SIZE) {
    throw new BlockError('EINVAL', `export name '${name.slice(0, 80)}...' too long`)
  }
  if (description !== undefined && textBytes(description).length > NBD_MAX_STRING_SIZE) {
    throw new BlockError('EINVAL', `description '${description.slice(0, 80)}...' too long`)
  }
  return settings
}

function isBitmap(value: unknown): boolean {
  return typeof value === 'string' || hasMethod(value, 'nextDirty')
}
