/** Options of a backing file whose name the image itself tells: `backing.file.locking`, `backing.driver`. */
import { BlockError } from '../errors.ts'
import { isNode, type Node } from '../graph/node.ts'
import { isRecord } from '../options/validate.ts'
import type { Registry } from './registry.ts'

/** Whether `value` says something of a child, or of its file, without saying which file that is. */
export async function isOverride(registry: Registry, value: unknown): Promise<boolean> {
  if (isNode(value) || !isRecord(value) || value.filename !== undefined) return false
  if (value.file !== undefined) return isOverride(registry, value.file)
  return value.driver === undefined || (await registry.of(value.driver)).options.file !== undefined
}

/** Refuses what is said of a backing file that the image of `node` turned out not to have. */
export async function refuseUnusedOverrides(
  registry: Registry,
  node: Node,
  given: Readonly<Record<string, unknown>>,
): Promise<void> {
  for (const [name, schema] of Object.entries(node.driver.options)) {
    if (schema.type !== 'child' || schema.role !== 'cow' || node.children.has(name)) continue
    if (!isRecord(given[name]) || !(await isOverride(registry, given[name]))) continue
    throw new BlockError('EINVAL', 'Could not open backing file: Must specify either driver or file')
  }
}
