/** Named dirty bitmaps of nodes. What is undone is undone before guests write again: no bit of theirs is lost. */
import { DirtyBitmap, type Node } from '@diskgraph/core'
import * as bitmaps from '@diskgraph/jobs'
import type { TypeOf } from '@diskgraph/qapi'
import type { System } from '../system.ts'
import { type Action, runActions } from './action.ts'
import type { Handlers } from './handlers.ts'

/** `block-dirty-bitmap-*` and the digest for tests. */
export function bitmapCommands(system: System): Handlers {
  const run = (action: Action): Promise<void> => runActions(system, [action])
  return {
    'block-dirty-bitmap-add': (args) => run(addBitmap(system, args)),
    'block-dirty-bitmap-remove': (args) => run(removeBitmap(system, args)),
    'block-dirty-bitmap-clear': (args) => run(clearBitmap(system, args)),
    'block-dirty-bitmap-enable': (args) => run(enableBitmap(system, args, true)),
    'block-dirty-bitmap-disable': (args) => run(enableBitmap(system, args, false)),
    'block-dirty-bitmap-merge': (args) => run(mergeBitmaps(system, args)),
    'x-debug-block-dirty-bitmap-sha256': async ({ node, name }) => ({
      sha256: await bitmaps.bitmapSha256(bitmaps.findBitmap(system.findEither(node), name)),
    }),
  }
}

/** Adds an empty bitmap. */
export function addBitmap(system: System, args: TypeOf<'BlockDirtyBitmapAdd'>): Action {
  return {
    stage: async (change) => {
      const { name, granularity, persistent, disabled } = args
      const node = system.findEither(args.node)
      const added = await bitmaps.addBitmap(system.graph, node, { name, granularity, persistent, disabled, change })
      change.onUndo(() => added.undo())
    },
  }
}

/** Removes a bitmap. */
export function removeBitmap(system: System, args: TypeOf<'BlockDirtyBitmap'>): Action {
  return {
    stage: async (change) => {
      const node = system.findEither(args.node)
      await change.drain(node)
      change.onUndo(await bitmaps.removeBitmap(node, args.name))
    },
  }
}

/** Forgets what a bitmap has recorded. */
export function clearBitmap(system: System, args: TypeOf<'BlockDirtyBitmap'>): Action {
  return changeBits(system, args.node, args.name, (node) => bitmaps.clearBitmap(node, args.name))
}

/** Marks in one bitmap what others have marked, of the same node or another one. */
export function mergeBitmaps(system: System, args: TypeOf<'BlockDirtyBitmapMerge'>): Action {
  return changeBits(system, args.node, args.target, (node) => {
    const sources = args.bitmaps.map((source) =>
      typeof source === 'string' ? source : { node: system.findEither(source.node), name: source.name },
    )
    return bitmaps.mergeBitmaps(node, args.target, sources)
  })
}

/** Lets a bitmap record, or keeps it as it is. */
export function enableBitmap(system: System, args: TypeOf<'BlockDirtyBitmap'>, enabled: boolean): Action {
  return {
    stage: async (change) => {
      const node = system.findEither(args.node)
      await change.drain(node)
      const bitmap = bitmaps.findBitmap(node, args.name)
      const before = bitmap.enabled
      await bitmaps.enableBitmap(node, args.name, enabled)
      change.onUndo(() => {
        bitmap.enabled = before
      })
    },
  }
}

/** `work` changes what a bitmap has marked; the bits before are kept, so that it can be undone. */
function changeBits(system: System, nodeName: string, name: string, work: (node: Node) => Promise<void>): Action {
  return {
    stage: async (change) => {
      const node = system.findEither(nodeName)
      await change.drain(node)
      const bitmap = bitmaps.findBitmap(node, name)
      const before = new DirtyBitmap(bitmap.size, bitmap.granularity)
      before.merge(bitmap)
      await work(node)
      change.onUndo(() => {
        bitmap.clear(0, bitmap.size)
        bitmap.merge(before)
      })
    },
  }
}
