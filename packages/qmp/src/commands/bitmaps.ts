/** Named dirty bitmaps of nodes. */
import { createHash } from 'node:crypto'
import { BlockError, DirtyBitmap, type Node } from '@diskgraph/core'
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
    'x-debug-block-dirty-bitmap-sha256': ({ node, name }) => ({
      sha256: digest(findBitmap(system.findEither(node), name)),
    }),
  }
}

/** Adds an empty bitmap. */
export function addBitmap(system: System, args: TypeOf<'BlockDirtyBitmapAdd'>): Action {
  let added: { readonly node: Node; readonly bitmap: DirtyBitmap } | undefined
  return {
    stage: async (change) => {
      const { name, granularity = 65536 } = args
      if (name === '') throw new BlockError('EINVAL', 'Bitmap name cannot be empty')
      const node = system.findEither(args.node)
      if (granularity < 512 || !isPowerOfTwo(granularity)) {
        throw new BlockError('EINVAL', 'Granularity must be power of 2 and at least 512')
      }
      if (name.length > 1023) throw new BlockError('EINVAL', 'Bitmap name too long')
      if (node.dirtyBitmaps.some((one) => one.name === name)) {
        throw new BlockError('EEXIST', `Bitmap already exists: ${name}`)
      }
      if (args.persistent) {
        if (node.image.bitmaps === undefined) {
          throw new BlockError('ENOTSUP', `Can't store persistent bitmaps to ${args.node}: Operation not supported`)
        }
      }
      await change.drain(node)
      const bitmap = node.addDirtyBitmap(granularity, name)
      bitmap.enabled = args.disabled !== true
      added = { node, bitmap }
    },
    undo: () => added?.node.removeDirtyBitmap(added.bitmap),
  }
}

/** Removes a bitmap. */
export function removeBitmap(system: System, args: TypeOf<'BlockDirtyBitmap'>): Action {
  let found: { readonly node: Node; readonly bitmap: DirtyBitmap } | undefined
  return {
    stage: (change) => {
      const node = system.findEither(args.node)
      found = { node, bitmap: findBitmap(node, args.name) }
      return change.drain(node)
    },
    commit: () => found?.node.removeDirtyBitmap(found.bitmap),
  }
}

/** Forgets what a bitmap has recorded. */
export function clearBitmap(system: System, args: TypeOf<'BlockDirtyBitmap'>): Action {
  let cleared: { readonly bitmap: DirtyBitmap; readonly before: DirtyBitmap } | undefined
  return {
    stage: async (change) => {
      const node = system.findEither(args.node)
      const bitmap = findBitmap(node, args.name)
      await change.drain(node)
      cleared = { bitmap, before: copyOf(bitmap) }
      bitmap.clear(0, bitmap.size)
    },
    undo: () => cleared?.bitmap.merge(cleared.before),
  }
}

/** Lets a bitmap record, or keeps it as it is. */
export function enableBitmap(system: System, args: TypeOf<'BlockDirtyBitmap'>, enabled: boolean): Action {
  let changed: { readonly bitmap: DirtyBitmap; readonly before: boolean } | undefined
  return {
    stage: async (change) => {
      const node = system.findEither(args.node)
      const bitmap = findBitmap(node, args.name)
      await change.drain(node)
      changed = { bitmap, before: bitmap.enabled }
      bitmap.enabled = enabled
    },
    undo: () => {
      if (changed !== undefined) changed.bitmap.enabled = changed.before
    },
  }
}

/** Marks in one bitmap what others have marked, of the same node or another one. */
export function mergeBitmaps(system: System, args: TypeOf<'BlockDirtyBitmapMerge'>): Action {
  let merged: { readonly target: DirtyBitmap; readonly before: DirtyBitmap } | undefined
  return {
    stage: async (change) => {
      const node = system.findEither(args.node)
      const target = findBitmap(node, args.target)
      const sources = args.bitmaps.map((source) =>
        typeof source === 'string' ? findBitmap(node, source) : findBitmap(system.findEither(source.node), source.name),
      )
      await change.drain(node)
      for (const source of sources) {
        if (source.size !== target.size) {
          throw new BlockError(
            'EINVAL',
            'Bitmaps are of different sizes (destination size is ' +
              `${target.size} and source size is ${source.size}) and can't be merged`,
          )
        }
      }
      merged = { target, before: copyOf(target) }
      for (const source of sources) target.merge(source)
    },
    undo: () => {
      if (merged === undefined) return
      merged.target.clear(0, merged.target.size)
      merged.target.merge(merged.before)
    },
  }
}

/** The bitmap of that name. ENOENT if there is none. */
function findBitmap(node: Node, name: string): DirtyBitmap {
  const found = node.dirtyBitmaps.find((one) => one.name === name)
  if (found !== undefined) return found
  throw new BlockError('ENOENT', `Dirty bitmap '${name}' not found`)
}

function copyOf(bitmap: DirtyBitmap): DirtyBitmap {
  const copy = new DirtyBitmap(bitmap.size, bitmap.granularity)
  copy.merge(bitmap)
  return copy
}

/** SHA-256 of the bits, least first, in whole words of 64 bits. */
function digest(bitmap: DirtyBitmap): string {
  const bits = Math.ceil(bitmap.size / bitmap.granularity)
  const words = Math.ceil(bits / 64)
  const hash = createHash('sha256')
  const piece = new Uint8Array(8192)
  for (let at = 0; at < words * 8; at += piece.length) {
    const bytes = piece.subarray(0, Math.min(piece.length, words * 8 - at)).fill(0)
    setBits(bitmap, at * 8, bytes)
    hash.update(bytes)
  }
  return hash.digest('hex')
}

function setBits(bitmap: DirtyBitmap, first: number, bytes: Uint8Array): void {
  const { granularity } = bitmap
  const end = (first + bytes.length * 8) * granularity
  for (let run = bitmap.nextDirty(first * granularity, end); run !== undefined; ) {
    const last = Math.ceil((run.offset + run.length) / granularity)
    for (let bit = run.offset / granularity; bit < last; bit++) {
      const own = bit - first
      bytes[own >> 3] = (bytes[own >> 3] as number) | (1 << (own & 7))
    }
    run = bitmap.nextDirty(run.offset + run.length, end)
  }
}

function isPowerOfTwo(value: number): boolean {
  return Number.isInteger(Math.log2(value))
}
