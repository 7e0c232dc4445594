/** Changing options of an open node. */
import { baseOptions, type ResolvedBase, resolveBase } from './base-options.ts'
import { withoutChildSchemas } from './child-options.ts'
import type { PreparedReopen } from './contract.ts'
import { drained } from './drain.ts'
import { BlockError } from './errors.ts'
import { toKebabCase } from './names.ts'
import type { Node } from './node.ts'
import { PermissionUpdate } from './permissions.ts'
import { optional, validateOptions } from './validate.ts'

/** Changes `changes` (camelCase) of `node` and of nothing else, drained: all of them, or none and an error. */
export async function reopenNode(node: Node, changes: Readonly<Record<string, unknown>>): Promise<void> {
  const schemas = { ...withoutChildSchemas(node.driver.options), ...baseOptions }
  for (const name of Object.keys(changes)) {
    const schema = schemas[name]
    if (schema === undefined) throw new BlockError('EINVAL', `Invalid parameter '${name}'`, { node: node.name })
    if (!schema.reopen)
      throw new BlockError('EINVAL', `Cannot change the option '${toKebabCase(name)}'`, { node: node.name })
  }
  const given = validateOptions(optional(schemas), changes, { withoutDefaults: true })
  const current: ResolvedBase = {
    readOnly: node.readOnly,
    autoReadOnly: false,
    forceShare: node.forceShare,
    discard: node.discardMode,
    detectZeroes: node.detectZeroes,
    cache: node.cache,
  }
  const next = { ...resolveBase(given, current), detectZeroes: given.detectZeroes ?? node.detectZeroes } as ResolvedBase
  await drained([node], () => change(node, given, next))
}

async function change(node: Node, given: Readonly<Record<string, unknown>>, next: ResolvedBase): Promise<void> {
  const own = Object.fromEntries(Object.entries(given).filter(([name]) => !(name in baseOptions)))
  const options = { ...node.options, ...own }
  if (!node.readOnly && next.readOnly) await node.flush()
  const prepared = await prepare(node, options, own, next)
  const before = { readOnly: node.readOnly }
  node.readOnly = next.readOnly
  try {
    if (before.readOnly !== next.readOnly) {
      const update = new PermissionUpdate()
      update.touch(node)
      update.touchChildren(node)
      await update.apply()
    }
  } catch (error) {
    node.readOnly = before.readOnly
    prepared?.abort()
    throw error
  }
  prepared?.commit()
  node.options = options
  node.cache = next.cache
  node.discardMode = next.discard
  node.detectZeroes = next.detectZeroes
  node.attachImage(node.image)
}

async function prepare(
  node: Node,
  options: Readonly<Record<string, unknown>>,
  own: Readonly<Record<string, unknown>>,
  next: ResolvedBase,
): Promise<PreparedReopen | undefined> {
  const { image, driver } = node
  if (!next.readOnly && image.write === undefined) {
    throw new BlockError('EROFS', `driver '${driver.name}' cannot write`, { node: node.name })
  }
  if (image.reopen !== undefined) {
    const complete = validateOptions(withoutChildSchemas(driver.options), options)
    return image.reopen({ options: complete, readOnly: next.readOnly, cache: next.cache })
  }
  const needsDriver =
    Object.keys(own).length > 0 || next.readOnly !== node.readOnly || next.cache.direct !== node.cache.direct
  if (needsDriver && driver.kind !== 'filter') {
    throw new BlockError('ENOTSUP', `driver '${driver.name}' does not support reopening with these options`, {
      node: node.name,
    })
  }
  return undefined
}
