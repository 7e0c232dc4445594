/** Images that a job copies to, made and opened by the name of a file: `drive-backup`, `drive-mirror`. */
import { BlockError, type Node } from '@diskgraph/core'
import { backingReference } from '@diskgraph/core/internal'
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
  const { createOptions } = await graph.registry.get(format)
  if (below !== undefined && createOptions?.backingFile === undefined) {
    throw new BlockError('ENOTSUP', `Backing file not supported for file format '${format}'`)
  }
  const backing =
    below === undefined ? {} : { backingFile: await backingReference(below), backingFmt: below.driver.name }
  const file = { driver: 'file', filename: target }
  await graph.createUnchecked({ driver: format, file, size: source.size, ...backing })
}

async function openTarget(
  { graph }: System,
  source: Node,
  { target, format, mode, 'node-name': nodeName }: TargetArguments,
  children: Readonly<Record<string, unknown>>,
): Promise<OpenedTarget> {
  const driver = format ?? (mode === 'existing' ? undefined : source.driver.name)
  const { options, kind } = driver === undefined ? {} : await graph.registry.get(driver)
  const node = await graph.addNode({
    // The name of a protocol is no format: its storage is all there is.
    ...(kind === 'protocol'
      ? { filename: target }
      : { ...(driver === undefined ? {} : { driver }), file: { filename: target } }),
    ...(nodeName === undefined ? {} : { nodeName }),
    ...(options?.backing === undefined ? {} : children),
    readOnly: false,
    cache: source.cache,
  })
  return {
    node,
    letGo: async () => {
      node.explicit = false
      // Closes it where the job could not be started.
      await graph.change(async (change) => change.pin(node)())
    },
  }
}
