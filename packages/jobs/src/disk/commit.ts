/**
 * Writes what an overlay holds down into its backing file, or into a deeper one.
 *
 * The base is made writable for as long as it takes. Its layers above do not share writing, and need not: what they
 * cover is all that is written, so nobody who reads through them sees a change. The base is therefore used with the
 * permission to write unchanged data only, and it grows, if it must, before the copy.
 */
import { BlockError, type Disk, describeErrorCode, Flag, type Node, Permission } from '@diskgraph/core'
import { toBlockError } from '@diskgraph/core/driver'
import { checkSettings, due } from '@diskgraph/core/internal'
import { aNode, checkDisk, workRules } from '../engine/arguments.ts'
import { runCopy } from '../engine/copier.ts'
import { Source } from '../engine/source.ts'
import { type JobOptions, runJob } from '../engine/work.ts'
import { unfiltered, whileWritable } from './chain.ts'

/** How {@link commit} commits. */
export interface CommitOptions extends JobOptions {
  /** The layer of the overlay's chain that is written to. Default: its backing file. */
  readonly base?: Node | undefined
  /** The overlay keeps what it holds. Default false: it is emptied, unless it was written to meanwhile, or the base is a deeper layer. */
  readonly keep?: boolean | undefined
}

/** Commits `overlay` into its base, which grows to its size, and flushes that. Reads of the overlay give what they gave. */
export function commit(overlay: Disk, options: CommitOptions = {}): Promise<void> {
  return runJob(options, async () => {
    checkSettings('commit', { ...workRules, base: aNode, keep: due.flag }, options)
    checkDisk('the overlay of commit', overlay)
    const top = unfiltered(overlay.node)
    const backing = top.backing?.node
    const { base = backing, keep = false } = options
    if (base === undefined) throw new BlockError('EINVAL', 'Image does not have a backing file')
    const empties = !keep && base === backing
    if (empties && overlay.readOnly) throw readOnly(overlay)
    const copied = (): Promise<void> => whileWritable(overlay.graph, base, () => copyDown(overlay, base, options))
    if (empties) await thenEmpty(overlay, top, copied)
    else await copied()
  })
}

/** The error of an overlay that could not be emptied in the end. */
function readOnly({ filename }: Disk): BlockError {
  const message = `cannot commit '${filename}': it is read-only, and could not be emptied afterwards`
  return new BlockError('EPERM', message, { hint: 'open it for writing, or let it keep what it holds (keep: true)' })
}

async function copyDown(overlay: Disk, base: Node, { signal, onProgress, speed }: CommitOptions): Promise<void> {
  const { graph, size } = overlay
  if (base.size < size) await graph.drained(base, () => base.truncate(size, { zero: true }, signal))
  const target = await graph.attach(base, { permissions: Permission.ConsistentRead | Permission.WriteUnchanged })
  try {
    const { clusterSize = 1 } = await target.info()
    await runCopy({
      source: new Source([overlay], { baseOf: () => base, signal }),
      target,
      clock: graph.clock,
      clusterSize,
      zeroUnit: Math.max(4096, clusterSize),
      targetIsZero: false,
      writeFlags: Flag.Unchanged,
      workers: 8,
      ordered: true,
      signal,
      onProgress,
      speed,
    })
    await target.flush(signal)
  } finally {
    await target.close()
  }
}

/** Empties the image `node` of `overlay` after `copied`. What is written meanwhile may come after its copy: then all stays. */
async function thenEmpty(overlay: Disk, node: Node, copied: () => Promise<void>): Promise<void> {
  const { graph } = overlay
  let written = false
  const forget = await graph.drained(node, async () =>
    node.addWriteNotifier(() => {
      written = true
    }),
  )
  try {
    await copied()
    await graph.drained(node, async () => {
      if (!written) await empty(overlay, node)
    })
  } finally {
    await graph.drained(node, async () => forget())
  }
}

async function empty(overlay: Disk, { image }: Node): Promise<void> {
  try {
    // What cannot be emptied keeps what it holds: it shows the same.
    await image.makeEmpty?.()
  } catch (error) {
    const cause = toBlockError(error)
    throw new BlockError(cause.code, `Failed to empty ${overlay.filename}: ${describeErrorCode(cause.code)}`, { cause })
  }
}
