/** `help` as the value of an option: what the option takes. */
import type { OptionSchema, OptionSchemas } from '@diskgraph/core/driver'
import { toKebabCase } from '@diskgraph/core/internal'
import { asksForHelp, memberTexts, objectHelp, Schema } from '@diskgraph/qapi'
import { chardevBackends } from './chardev.ts'
import type { GivenOption } from './command-line.ts'
import { drivers } from './driver-table.ts'
import { StartError } from './failure.ts'
import { helpText } from './help.ts'
import { groupHelp } from './option-groups.ts'

/** Types of the schema whose members an option takes. */
const structs: Readonly<Record<string, readonly string[]>> = {
  export: ['BlockExportOptions', 'BlockExportOptionsNbd'],
  'nbd-server': ['NbdServerOptions'],
  monitor: ['MonitorOptions'],
}

/** What the first option that asks for help wants to know; undefined if none does. EINVAL for a driver or type that is none. */
export async function optionHelp(options: readonly GivenOption[]): Promise<string | undefined> {
  for (const { name, value } of options) {
    if (value.startsWith('{') || !asksForHelp(value)) continue
    if (name === 'object') return objectHelp(value)
    if (name === 'chardev') return chardevHelp()
    if (name === 'blockdev') return blockdevHelp(value)
    if (name === 'drive') return `${paragraph(name)}${groupHelp(name)}`
    return `${paragraph(name)}${(structs[name] ?? []).map(members).join('')}`
  }
  return undefined
}

/** The kinds of character devices, as QEMU lists them. */
export function chardevHelp(): string {
  return `Available chardev backend types: \n${chardevBackends.map(line).join('')}`
}

/** The drivers, or the options of the one that `value` names. StartError for one that is none. */
export async function blockdevHelp(value: string): Promise<string> {
  const [name = ''] = value.split(',').map((word) => word.replace(/^driver=/, ''))
  if (name === 'help' || name === '?') {
    const names = drivers.map((driver) => driver.name).join(' ')
    return `${paragraph('blockdev')}Drivers: ${names}\nOptions of one: --blockdev DRIVER,help\n`
  }
  const driver = await drivers.find((one) => one.name === name)?.load()
  if (driver === undefined) throw new StartError(`--blockdev ${value}: Unknown driver '${name}'`)
  return `${name} options:\n${optionLines(driver.options, '').join('')}`
}

/** A line for each option; those of objects stand under the names that they have on command lines. */
function optionLines(schemas: OptionSchemas, prefix: string): string[] {
  return Object.entries(schemas).flatMap(([option, schema]) => {
    const name = `${prefix}${schema.qapi ?? toKebabCase(option)}`
    const required = schema.required ? ', required' : ''
    const own = line(`${name}=<${typeText(schema)}>${required}  ${schema.description}`)
    return [own, ...inner(schema).flatMap((schemas) => optionLines(schemas, `${name}.`))]
  })
}

/** The options within the values of `schema`; of a union with the one that tells its variants apart. */
function inner(schema: OptionSchema): OptionSchemas[] {
  if (schema.type === 'object') return [schema.properties]
  if (schema.type === 'alternate') return schema.of.flatMap(inner)
  if (schema.type !== 'union') return []
  const variants = Object.keys(schema.variants)
  const tag = { type: 'enum', values: variants, required: true, description: 'Which of them it is.' } as const
  return [{ [schema.tag]: tag, ...Object.assign({}, ...Object.values(schema.variants)) }]
}

function typeText(schema: OptionSchema): string {
  if (schema.type === 'enum') return schema.values.join('|')
  if (schema.type === 'boolean') return 'on|off'
  return schema.type === 'integer' && schema.size ? 'size' : schema.type
}

/** What `--help` says of an option. */
function paragraph(name: string): string {
  const lines = helpText('').split('\n')
  const begins = (at: string): boolean => new RegExp(`^  (?:-\\w, )?--${name}\\b`).test(at)
  const first = lines.findIndex(begins)
  const length = lines.slice(first).findIndex((at) => !begins(at) && !at.startsWith('   '))
  return lines
    .slice(first, first + length)
    .map((at) => `${at}\n`)
    .join('')
}

function members(type: string): string {
  return `${type}:\n${memberTexts(new Schema(), type, ', required').map(line).join('')}`
}

function line(text: string): string {
  return `  ${text}\n`
}
