/** Exports: what others see of the graph. */
import { BlockError } from '@diskgraph/core'
import type { NbdExport } from '@diskgraph/nbd'
import type { NbdExports, NbdServerOptions } from '../nbd-exports.ts'
import type { System } from '../system.ts'
import type { Handlers } from './handlers.ts'

/** `nbd-server-*`, `block-export-*`, `query-block-exports`. */
export function exportCommands(system: System, nbd: NbdExports): Handlers {
  return {
    'nbd-server-start': ({ addr, ...options }) => nbd.start({ addr: flat(addr), ...options }),
    'nbd-server-stop': () => nbd.stop(),
    'nbd-server-add': async ({ device, name, writable, bitmap, description }) => {
      nbd.mustRun()
      const node = system.findEither(device)
      const id = name ?? device
      const added = await nbd.add(node, {
        id,
        name: id,
        // As QEMU has it for this command.
        writable: writable === true && !node.readOnly,
        ...(description === undefined ? {} : { description }),
        ...(bitmap === undefined ? {} : { bitmaps: [bitmap] }),
      })
      endWithMedium(system, device, added)
    },
    'nbd-server-remove': ({ name, mode }) => nbd.remove(name, mode),
    'block-export-add': async (options) => {
      const { id, name, writable, writethrough, description, bitmaps } = options
      const node = system.find(undefined, options['node-name'])
      const { iothread } = options
      if (iothread !== undefined && system.graph.objects.find('iothread', iothread) === undefined) {
        throw new BlockError('EINVAL', `iothread "${iothread}" not found`)
      }
      nbd.mustRun()
      await nbd.add(node, {
        id,
        name: name ?? node.name,
        writable: writable === true,
        writethrough: writethrough === true,
        allocationDepth: options['allocation-depth'] === true,
        ...(description === undefined ? {} : { description }),
        ...(bitmaps === undefined ? {} : { bitmaps: await Promise.all(bitmaps.map((one) => bitmapOf(system, one))) }),
      })
    },
    'block-export-del': ({ id, mode }) => nbd.remove(id, mode),
    'query-block-exports': () =>
      nbd.list().map(({ id, nodeName, shuttingDown }) => ({
        'node-name': nodeName,
        'shutting-down': shuttingDown,
        type: 'nbd' as const,
        id,
      })),
  }
}

/** An export of a device ends when its medium is taken out. */
function endWithMedium({ graph, nbd, devices }: System, device: string, added: NbdExport): void {
  const stop = devices?.find(device)?.onRemoval(async () => {
    stop?.()
    await nbd.end(added).catch((error: Error) => graph.warn(`export '${added.id}' of '${device}': ${error.message}`))
  })
}

type Addr = NbdServerOptions['addr']

/** The older form of an address has its members in `data`. */
function flat({ type, data }: { readonly type: string; readonly data: object }): Addr {
  return { type, ...data } as Addr
}

/** A bitmap by its name, or that of a certain node. */
function bitmapOf(system: System, bitmap: string | { readonly node: string; readonly name: string }) {
  if (typeof bitmap === 'string') return bitmap
  const found = system.findEither(bitmap.node).dirtyBitmaps.find(({ name }) => name === bitmap.name)
  if (found === undefined) throw new BlockError('ENOENT', `Bitmap '${bitmap.name}' is not found`)
  return found
}
