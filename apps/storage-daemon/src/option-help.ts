/** `help` as the value of an option. */
import { asksForHelp, Schema } from '@diskgraph/qapi'
import { chardevBackends } from './chardev.ts'
import type { GivenOption } from './command-line.ts'
import { StartError } from './failure.ts'

const withoutHelp = new Set(['blockdev', 'drive', 'export', 'nbd-server', 'monitor', 'add-fd'])

/** What the first option that asks for help wants to know; undefined if none does. Throws where there is no help. */
export function optionHelp(options: readonly GivenOption[]): string | undefined {
  for (const { name, value } of options) {
    if (value.startsWith('{') || !asksForHelp(value)) continue
    if (name === 'object') return objectHelp(value)
    if (name === 'chardev') return `Available chardev backend types: \n${chardevBackends.map(line).join('')}`
    if (withoutHelp.has(name)) throw new StartError(`--${name} ${value}: Help is not available for this option`)
  }
  return undefined
}

function line(text: string): string {
  return `  ${text}\n`
}

function objectHelp(value: string): string {
  const schema = new Schema()
  const options = schema.type('ObjectOptions')
  const variants = options !== undefined && 'struct' in options ? (options.variants ?? {}) : {}
  const [type = ''] = value.split(',').map((word) => word.replace(/^qom-type=/, ''))
  if (type === 'help' || type === '?')
    return `List of user creatable objects:\n${Object.keys(variants).map(line).join('')}`
  const definition = Object.hasOwn(variants, type) ? schema.type(variants[type] as string) : undefined
  if (definition === undefined || !('struct' in definition)) {
    throw new StartError(`--object ${value}: Parameter 'qom-type' does not accept value '${type}'`)
  }
  const properties = Object.entries(definition.struct).map(([name, ref]) => {
    const [one] = typeof ref === 'string' ? [ref] : ref
    return line(`${name.replace(/^\*/, '')}=<${one === 'str' ? 'string' : one}>`)
  })
  return `${type} options:\n${properties.sort().join('')}`
}
