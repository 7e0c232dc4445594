/** `query-command-line-options`: the options of dg-emulator that are lists of keys, and those keys. */
import { BlockError } from '@diskgraph/core'
import { toKebabCase } from '@diskgraph/core/internal'
import type { ReturnOf, TypeOf } from '@diskgraph/qapi'
import { limitSchemas } from '@diskgraph/throttle'

type Parameter = TypeOf<'CommandLineParameterInfo'>

/** Keys by type, `name=what it is` each. */
function parameters(type: Parameter['type'], ...keys: readonly string[]): Parameter[] {
  return keys.map((key) => {
    const [name = '', help] = key.split('=')
    return { name, ...(help === undefined ? {} : { help }), type }
  })
}

const limits = Object.keys(limitSchemas).map((name) => `throttling.${toKebabCase(name)}`)

/** By option. Those of `device`, `object` and of block drivers are told by other commands. */
const groups: Readonly<Record<string, readonly Parameter[]>> = {
  drive: [
    ...parameters('string', 'if=where it sits', 'media=disk or cdrom', 'id', 'file', 'format', 'driver', 'node-name'),
    ...parameters('string', 'rerror', 'werror', 'cache', 'aio', 'discard', 'detect-zeroes', 'throttling.group'),
    ...parameters('number', 'index', 'bus', 'unit', ...limits),
    ...parameters('boolean', 'snapshot', 'copy-on-read', 'read-only', 'auto-read-only', 'force-share'),
    ...parameters('boolean', 'cache.writeback', 'cache.direct', 'cache.no-flush'),
    ...parameters('boolean', 'stats-account-invalid', 'stats-account-failed'),
  ],
  chardev: [
    ...parameters('string', 'backend', 'path', 'host', 'port', 'fd'),
    ...parameters('boolean', 'server', 'wait', 'delay', 'nodelay', 'ipv4', 'ipv6', 'telnet', 'mux', 'signal'),
    ...parameters('number', 'reconnect', 'to'),
  ],
  mon: [...parameters('string', 'chardev', 'mode'), ...parameters('boolean', 'pretty')],
  'add-fd': [...parameters('number', 'fd', 'set'), ...parameters('string', 'opaque')],
  device: [],
  object: [],
}

/** All options, or the one that is asked for. EINVAL for what is none. */
export function optionGroups(option: string | undefined): ReturnOf<'query-command-line-options'> {
  if (option !== undefined && !Object.hasOwn(groups, option)) {
    throw new BlockError('EINVAL', `invalid option name: ${option}`)
  }
  const told = Object.entries(groups).filter(([name]) => option === undefined || name === option)
  return told.map(([name, keys]) => ({ parameters: [...keys], option: name }))
}

const types: Readonly<Record<string, string>> = { string: 'str', number: 'num', boolean: 'bool (on/off)', size: 'size' }

/** The keys of an option, as QEMU lists them. */
export function groupHelp(option: string): string {
  const parameters = optionGroups(option).flatMap((group) => group.parameters)
  const lines = parameters.map(({ name, type, help }) => {
    const key = `  ${name}=<${types[type]}>`
    return help === undefined ? `${key}\n` : `${key.padEnd(24)} - ${help}\n`
  })
  return `${option} options:\n${lines.sort().join('')}`
}
