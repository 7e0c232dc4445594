/** Snapshots: a new layer above a node, and those inside of an image. */
import { BlockError, type Change, type Node } from '@diskgraph/core'
import { backingReference } from '@diskgraph/core/internal'
import { type ArgumentsOf, type ReturnOf, snapshotMembers, type TypeOf } from '@diskgraph/qapi'
import type { System } from '../system.ts'
import { type Action, runActions } from './action.ts'
import type { Handlers } from './handlers.ts'

/** `blockdev-snapshot`, `-snapshot-sync`, `-snapshot-internal-sync`, `-snapshot-delete-internal-sync`. */
export function snapshotCommands(system: System): Handlers {
  return {
    'blockdev-snapshot': (args) => runActions(system, [overlayAction(system, args)]),
    'blockdev-snapshot-sync': (args) => runActions(system, [newOverlayAction(system, args)]),
    'blockdev-snapshot-internal-sync': (args) => runActions(system, [internalAction(system, args)]),
    'blockdev-snapshot-delete-internal-sync': (args) => deleteInternal(system, args),
  }
}

/** Puts a node that is open above another one, whose users use it from then on. */
export function overlayAction(system: System, args: TypeOf<'BlockdevSnapshot'>): Action {
  let node: Node | undefined
  return {
    stage: async (change) => {
      node = system.findEither(args.node)
      const overlay = system.graph.find(args.overlay)
      if (overlay === undefined) {
        throw new BlockError('ENODEV', `Cannot find device='${args.overlay}' nor node-name='${args.overlay}'`)
      }
      system.refuseBacking(node)
      if ([...overlay.parents].some(({ role }) => role !== 'cow')) {
        throw new BlockError('EBUSY', 'The overlay is already in use')
      }
      if (isBelow(overlay, node)) {
        const cycle = `Making '${node.name}' a backing child of '${overlay.name}' would create a cycle`
        throw new BlockError('EINVAL', cycle)
      }
      if (overlay.parents.size > 0) throw new BlockError('EBUSY', 'The overlay is already in use')
      if (overlay.backing !== undefined) throw new BlockError('EINVAL', 'The overlay already has a backing image')
      if (overlay.driver.options.backing?.type !== 'child') {
        throw new BlockError('ENOTSUP', 'The overlay does not support backing images')
      }
      await change.setBacking(overlay, node)
      await change.replace(node, overlay)
    },
    finish: async (success) => {
      if (success) await protect(system, node)
    },
  }
}

/** Makes an image (or takes one that is there) and puts it above a node. */
export function newOverlayAction(system: System, args: TypeOf<'BlockdevSnapshotSync'>): Action {
  const { graph } = system
  const filename = args['snapshot-file']
  const name = args['snapshot-node-name']
  const format = args.format ?? 'qcow2'
  let base: Node | undefined
  return {
    prepare: async () => {
      base = system.find(args.device, args['node-name'])
      system.refuseBacking(base)
      if (args['node-name'] !== undefined && name === undefined) {
        throw new BlockError('EINVAL', 'New overlay node-name missing')
      }
      if (name !== undefined && graph.find(name) !== undefined) {
        throw new BlockError('EEXIST', 'New overlay node-name already in use')
      }
      const isExisting = args.mode === 'existing'
      if (!graph.registry.names.includes(format)) {
        throw new BlockError('EINVAL', isExisting ? `Unknown driver '${format}'` : `Unknown file format '${format}'`)
      }
      const driver = await graph.registry.get(format)
      if (driver.options.backing?.type !== 'child') {
        const without = 'The overlay does not support backing images'
        throw new BlockError('ENOTSUP', isExisting ? without : `Backing file not supported for file format '${format}'`)
      }
      if (isExisting) return
      const backing = { backingFile: await backingReference(base), backingFmt: base.driver.name }
      await graph.createUnchecked({ driver: format, file: { driver: 'file', filename }, size: base.size, ...backing })
    },
    stage: async (change) => {
      const node = base as Node
      const overlay = await change.openUnchecked({
        driver: format,
        ...(name === undefined ? {} : { nodeName: name }),
        file: { driver: 'file', filename },
        backing: null,
        readOnly: false,
        cache: node.cache,
      })
      await change.setBacking(overlay, node)
      await change.replace(node, overlay)
    },
    finish: async (success) => {
      if (success) await protect(system, base)
    },
  }
}

/** Whether `node` is `top`, or somewhere below it. */
function isBelow(node: Node, top: Node): boolean {
  if (node === top) return true
  return [...top.children.values()].some((edge) => isBelow(node, edge.node))
}

/** Nobody writes below an overlay. Where that cannot be said to the storage, the overlay is there all the same. */
async function protect({ graph }: System, node: Node | undefined): Promise<void> {
  if (node === undefined || node.readOnly) return
  const work = async (change: Change): Promise<void> => {
    for (const one of followers(node)) await change.reopen(one, { readOnly: true })
  }
  await graph.change(work).catch((error: Error) => graph.warn(`node '${node.name}' stays writable: ${error.message}`))
}

/** A node, and the storage below that was opened with it. */
function followers(node: Node): Node[] {
  const below = [...node.children.values()].filter((edge) => edge.role !== 'cow' && edge.node.inheritsFrom === node)
  return [node, ...below.flatMap((edge) => followers(edge.node))]
}

/** Takes a snapshot inside of an image. */
export function internalAction(system: System, { device, name }: TypeOf<'BlockdevSnapshotInternal'>): Action {
  let taken: Node | undefined
  return {
    prepare: async () => {
      const node = system.findRoot(device)
      if (node.readOnly) throw new BlockError('EPERM', `Device '${device}' is read only`)
      if (node.image.snapshots === undefined) {
        const format = node.driver.name
        throw new BlockError(
          'ENOTSUP',
          `Block format '${format}' used by device '${device}' does not support internal snapshots`,
        )
      }
      if (name === '') throw new BlockError('EINVAL', 'Name is empty')
      if (node.image.snapshots.list().some((one) => one.name === name)) {
        throw new BlockError('EEXIST', `Snapshot with name '${name}' already exists on device '${device}'`)
      }
    },
    stage: async (change) => {
      const node = system.findEither(device)
      await change.drain(node)
      const now = system.graph.clock.wallTime()
      const seconds = Math.floor(now / 1000)
      await node.image.snapshots?.create({
        name,
        dateSeconds: seconds,
        dateNanoseconds: Math.round((now - seconds * 1000) * 1e6),
      })
      taken = node
    },
    undo: async () => {
      const node = taken
      if (node === undefined) return
      await deleteSnapshot(system, node, name).catch((error: Error) =>
        system.graph.warn(`snapshot '${name}' of '${device}' stays: ${error.message}`),
      )
    },
  }
}

async function deleteInternal(
  system: System,
  { device, id, name }: ArgumentsOf<'blockdev-snapshot-delete-internal-sync'>,
): Promise<ReturnOf<'blockdev-snapshot-delete-internal-sync'>> {
  const node = system.findRoot(device)
  if (id === undefined && name === undefined) throw new BlockError('EINVAL', 'Name or id must be provided')
  if (node.image.snapshots === undefined) {
    throw new BlockError('ENOTSUP', 'Failed to get a snapshot list: Operation not supported')
  }
  const found = node.image.snapshots.list().find((one) => (id ?? one.id) === one.id && (name ?? one.name) === one.name)
  if (found === undefined) {
    throw new BlockError(
      'ENOENT',
      `Snapshot with id '${id ?? 'null'}' and name '${name ?? 'null'}' does not exist on device '${device}'`,
    )
  }
  await deleteSnapshot(system, node, found.id)
  return snapshotMembers(found)
}

/** The users of the disk are held meanwhile, so that what they may do to it does not matter. */
async function deleteSnapshot({ graph }: System, node: Node, idOrName: string): Promise<void> {
  await graph.change(async (change) => {
    await change.drain(node)
    await node.image.snapshots?.delete(idOrName)
  })
}
