/** What a program without types may hand over when it starts a job. Values have the errors of whoever reads them. */
import { BlockError } from '@diskgraph/core'
import { checkSettings, kindOf, rule } from '@diskgraph/core/internal'
import { aNode } from '../engine/arguments.ts'

const anything = rule('anything', () => true)
const nodeOrName = rule('a node of the graph, or its name', (value) => typeof value === 'string' || aNode.check(value))

const settings = ['jobId', 'speed', 'autoFinalize', 'autoDismiss', 'transaction', 'change']
const nodes = ['device', 'target', 'replaces', 'baseNode', 'topNode', 'bottom']
const required = ['device', 'target']

/** Refuses arguments of `call` that are no table, lack `device` or `target`, or have names besides `names`. EINVAL. */
export function checkStart(call: string, jobs: unknown, options: unknown, names: readonly string[]): void {
  if (typeof (jobs as { readonly make?: unknown } | undefined)?.make !== 'function') {
    throw new BlockError('EINVAL', `${call} takes a JobTable and options, not ${kindOf(jobs)}`)
  }
  const rules = [...names, ...settings].map((name) => {
    const own = nodes.includes(name) ? nodeOrName : anything
    return [name, { ...own, required: required.includes(name) }] as const
  })
  checkSettings(call, Object.fromEntries(rules), options)
}
