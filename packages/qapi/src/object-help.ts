/** The text for `--object help` and `--object TYPE,help`, as QEMU's programs have it. */
import { Schema } from './schema.ts'

/**
 * The properties of the type of objects that `value` names first; for a misspelt one, and for none, the types. `accepts`
 * tells which of them the program has.
 */
export function objectHelp(value: string, accepts: (type: string) => boolean = () => true): string {
  const schema = new Schema()
  const options = schema.type('ObjectOptions')
  const variants = options !== undefined && 'struct' in options ? (options.variants ?? {}) : {}
  const types = Object.keys(variants).filter(accepts)
  const [type = ''] = value.split(',').map((word) => word.replace(/^qom-type=/, ''))
  if (!types.includes(type)) return `List of user creatable objects:\n${types.map((name) => `  ${name}\n`).join('')}`
  // QEMU does not tell of this one: it is what it is set to by itself.
  const texts = memberTexts(schema, variants[type] as string).filter((text) => !text.startsWith('loaded='))
  return `${type} options:\n${texts
    .sort()
    .map((text) => `  ${text}\n`)
    .join('')}`
}

/** `name=<type>` for each member of a struct; `required` stands behind those that may not be left out. */
export function memberTexts(schema: Schema, type: string, required = ''): string[] {
  const definition = schema.type(type)
  if (definition === undefined || !('struct' in definition)) return []
  return Object.entries(definition.struct).map(([name, ref]) => {
    const [one] = typeof ref === 'string' ? [ref] : ref
    const text = `${name.replace(/^\*/, '')}=<${one === 'str' ? 'string' : one}>`
    return name.startsWith('*') ? text : `${text}${required}`
  })
}
