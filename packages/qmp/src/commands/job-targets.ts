/** Images that a job copies to, made and opened by the name of a file: `drive-backup`, `drive-mirror`. */
import { BlockError, type Graph, type Node } from '@diskgraph/core'
import { backingReference, warningOfGuess } from '@diskgraph/core/internal'
import type { System } from '../system.ts'

/** A node that was opened for a job. */
export interface OpenedTarget {
  readonly node: Node
  /** The job has it now, or there is none: it is closed when nobody uses it. */
  letGo(): Promise<void>
}

/** What is said of a target. */
interface TargetArguments {
  readonly target: string
  readonly format?: string | undefined
  readonly mode?: 'existing' | 'absolute-paths' | undefined
  readonly sync: string
  readonly 'node-name'?: string | undefined
}

/** The target of a backup: with the backing file of the disk for `top`, with the disk itself for `none`. */
export async function backupTarget(system: System, source: Node, args: TargetArguments): Promise<OpenedTarget> {
  const below = args.sync === 'top' ? source.backing?.node : args.sync === 'none' ? source : undefined
  await makeTarget(system, source, args, below)
  const isExisting = args.mode === 'existing'
  return openTarget(system, source, args, isExisting ? {} : { backing: below ?? null })
}

/** The target of a mirror, which has no backing file until the job has ended. */
export async function mirrorTarget(system: System, source: Node, args: TargetArguments): Promise<OpenedTarget> {
  const below = args.sync === 'top' ? source.backing?.node : args.sync === 'none' ? source : undefined
  await makeTarget(system, source, args, below)
  return openTarget(system, source, args, { backing: null })
}

async function makeTarget(
  { graph }: System,
  source: Node,
  { target, format = source.driver.name, mode }: TargetArguments,
  below: Node | undefined,
): Promise<void> {
  if (mode === 'existing') return
  if (!graph.registry.names.includes(format)) throw new BlockError('EINVAL', `Unknown file format '${format}'`)
  const { createOptions, kind } = await graph.registry.get(format)
  if (below !== undefined && createOptions?.backingFile === undefined) {
    throw new BlockError('ENOTSUP', `Backing file not supported for file format '${format}'`)
  }
  const backing =
    below === undefined ? {} : { backingFile: await backingReference(below), backingFmt: below.driver.name }
  const file = { driver: 'file', filename: target }
  // The name of a protocol is no format: its storage is all there is.
  const place = kind === 'protocol' ? { filename: target } : { file }
  await graph.createUnchecked({ driver: format, ...place, size: source.size, ...backing })
}

async function openTarget(
  { graph }: System,
  source: Node,
  { target, format, mode, 'node-name': nodeName }: TargetArguments,
  children: Readonly<Record<string, unknown>>,
): Promise<OpenedTarget> {
  const named = nodeName === undefined ? {} : { nodeName }
  const { cache } = source
  if (format !== undefined && (await graph.registry.get(format)).kind === 'protocol') {
    const node = await graph.addNode({ filename: target, ...named, readOnly: false, discard: 'unmap', cache })
    return { node, letGo: () => letGo(graph, node) }
  }
  const file = await graph.addNode({ filename: target, readOnly: false, discard: 'unmap', cache })
  try {
    const isGiven = format !== undefined || mode !== 'existing'
    const driver = isGiven ? (format ?? source.driver.name) : await graph.registry.probeNode(file)
    const takesBacking = (await graph.registry.get(driver)).options.backing !== undefined
    // Without its format the node is probed, and raw by a guess is guarded against turning into another format.
    const node = await graph.addNode({
      ...(isGiven ? { driver } : {}),
      ...named,
      ...(takesBacking ? children : {}),
      file,
      readOnly: false,
      cache,
    })
    if (node.probeGuard !== undefined) graph.warn(warningOfGuess(target))
    return { node, letGo: () => letGo(graph, node) }
  } finally {
    await letGo(graph, file)
  }
}

/** Closes `node` when nobody uses it. */
async function letGo(graph: Graph, node: Node): Promise<void> {
  node.explicit = false
  await graph.change(async (change) => change.pin(node)())
}
