/** What a program without types may hand over when it starts a job. Values have the errors of whoever reads them. */
import { BlockError } from '@diskgraph/core'
import { kindOf } from '@diskgraph/core/internal'
import { aNode, checkOptions } from '../engine/arguments.ts'

const anything = (): undefined => undefined
const nodeOrName = (value: unknown): string | undefined =>
  typeof value === 'string' || aNode(value) === undefined ? undefined : 'a node of the graph, or its name'

const settings = ['jobId', 'speed', 'autoFinalize', 'autoDismiss', 'transaction', 'change']
const nodes = ['device', 'target', 'replaces', 'baseNode', 'topNode', 'bottom']

/** Refuses arguments of `call` that are no table, lack `device` or `target`, or have names besides `names`. EINVAL. */
export function checkStart(call: string, jobs: unknown, options: unknown, names: readonly string[]): void {
  if (typeof (jobs as { readonly make?: unknown } | undefined)?.make !== 'function') {
    throw new BlockError('EINVAL', `${call} takes a JobTable and options, not ${kindOf(jobs)}`)
  }
  const rules = [...names, ...settings].map((name) => [name, nodes.includes(name) ? nodeOrName : anything] as const)
  checkOptions(call, options, Object.fromEntries(rules))
  for (const name of ['device', 'target']) {
    if (!names.includes(name) || (options as Readonly<Record<string, unknown>>)[name] !== undefined) continue
    throw new BlockError('EINVAL', `${call} needs the option '${name}', a node of the graph or its name`)
  }
}
