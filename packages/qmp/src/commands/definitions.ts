/** Definitions of nodes as clients send them, made ready for validation and then for the graph. */
import { BlockError, type Graph } from '@diskgraph/core'
import { fromQapi } from '@diskgraph/core/internal'
import type { DriverOptions } from '@diskgraph/qapi'
import type { System } from '../system.ts'

type Options = Readonly<Record<string, unknown>>

/**
 * Loads the drivers that `args` speak of, so that their options are known, and rewrites what older clients send: the
 * file name of a protocol that takes a URL now.
 */
export async function prepareDefinitions(system: System, args: Options): Promise<Options> {
  return (await prepared(system, args, 0)) as Options
}

const deepest = 64

async function prepared(system: System, value: unknown, depth: number): Promise<unknown> {
  if (depth > deepest) return value
  if (Array.isArray(value)) return Promise.all(value.map((item) => prepared(system, item, depth + 1)))
  if (!isObject(value)) return value
  const { registry } = system.graph
  const result: Record<string, unknown> = Object.create(null)
  for (const [name, member] of Object.entries(value)) result[name] = await prepared(system, member, depth + 1)
  const name = result.driver
  if (typeof name !== 'string' || !registry.names.includes(name)) return result
  const driver = await registry.get(name)
  system.schema.addDriver(driver)
  const { filename } = result
  if (typeof filename !== 'string' || 'filename' in driver.options || driver.parseFilename === undefined) return result
  const { filename: _, ...rest } = result
  return { ...driver.parseFilename(filename), ...rest }
}

/**
 * The definition of a node, which has been validated, as the graph takes it. What is said of the device above it is left
 * out, and so is what does nothing here.
 */
export async function graphOptions(graph: Graph, options: DriverOptions): Promise<Record<string, unknown>> {
  return (await converted(graph, options)) as Record<string, unknown>
}

async function converted(graph: Graph, value: unknown): Promise<unknown> {
  if (Array.isArray(value)) return Promise.all(value.map((item) => converted(graph, item)))
  if (!isObject(value)) return value
  if (typeof value.driver !== 'string') return fromQapi(value)
  checkName(value['node-name'])
  const driver = await graph.registry.get(value.driver)
  const result: Record<string, unknown> = Object.create(null)
  for (const [name, member] of Object.entries(value)) {
    if (deviceOptions.has(name) || (name === 'aio' && !('aio' in driver.options))) continue
    if (name === 'cache' && isObject(member)) {
      const { writeback: _, ...cache } = member
      result.cache = fromQapi(cache)
      continue
    }
    const [camel] = Object.keys(fromQapi({ [name]: null }))
    // What older clients say of a backing file that is not to be used.
    const isNoBacking = member === '' && driver.options[camel as string]?.type === 'child'
    result[camel as string] = isNoBacking ? null : await converted(graph, member)
  }
  return result
}

const deviceOptions = new Set(['id', 'rerror', 'werror'])

/** Throws EINVAL for what is no name of a node. */
function checkName(name: unknown): void {
  if (typeof name !== 'string') return
  if (!/^[A-Za-z][\w.-]*$/.test(name)) throw new BlockError('EINVAL', `Invalid node-name: '${name}'`)
  if (name.length > 31) throw new BlockError('EINVAL', 'Node name too long')
}

function isObject(value: unknown): value is Options {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
