/** `query-qmp-schema`: the schema told in its own words. */
import { type Builtin, builtins, type Members, type Ref, type TypeDefinition } from './notation.ts'
import type { Schema } from './schema.ts'

/** An entry of the answer: QAPI's SchemaInfo. */
export interface SchemaEntry {
  readonly name: string
  readonly 'meta-type': string
  readonly [member: string]: unknown
}

const jsonTypes: Readonly<Record<Builtin, string>> = {
  str: 'string',
  int: 'int',
  uint32: 'int',
  uint64: 'int',
  size: 'int',
  number: 'number',
  bool: 'boolean',
  null: 'null',
  any: 'value',
}

/** The schema as `query-qmp-schema` gives it: of `commands` (by name; default all), all events, and their types. */
export function introspect(schema: Schema, commands: Iterable<string> = schema.commandNames): SchemaEntry[] {
  const introspection = new Introspection(schema)
  for (const name of commands) introspection.addCommand(name)
  for (const name of schema.eventNames) introspection.addEvent(name)
  return introspection.entries
}

class Introspection {
  readonly entries: SchemaEntry[] = []
  readonly #schema: Schema
  readonly #known = new Set<string>()

  constructor(schema: Schema) {
    this.#schema = schema
  }

  addCommand(name: string): void {
    const command = this.#schema.command(name)
    if (command === undefined) return
    const oob = command.oob ? { 'allow-oob': true } : {}
    const returns = command.returns === undefined ? this.#object('q_empty', {}) : this.#ref(command.returns)
    this.entries.push({
      name,
      'meta-type': 'command',
      'arg-type': this.#arguments(name, command.data ?? {}),
      'ret-type': returns,
      ...oob,
    })
  }

  addEvent(name: string): void {
    const members = this.#schema.event(name)
    if (members === undefined) return
    this.entries.push({ name, 'meta-type': 'event', 'arg-type': this.#arguments(name, members) })
  }

  #arguments(name: string, data: string | Members): string {
    if (typeof data === 'string') return this.#ref(data)
    return Object.keys(data).length === 0 ? this.#object('q_empty', {}) : this.#object(`q_obj_${name}-arg`, data)
  }

  #ref(ref: Ref): string {
    if (typeof ref === 'string') return this.#type(ref)
    const element = this.#type(ref[0])
    this.#add(`[${element}]`, () => ({ 'meta-type': 'array', 'element-type': element }))
    return `[${element}]`
  }

  #type(name: string): string {
    if (isBuiltin(name)) {
      const json = jsonTypes[name]
      const own = json === 'int' ? 'int' : name
      this.#add(own, () => ({ 'meta-type': 'builtin', 'json-type': json }))
      return own
    }
    const type = this.#schema.type(name)
    if (type !== undefined) this.#add(name, () => this.#describe(type))
    return name
  }

  #object(name: string, members: Members): string {
    this.#add(name, () => this.#describe({ struct: members }))
    return name
  }

  #describe(type: TypeDefinition): DescribedType {
    if ('enum' in type) {
      const members = type.enum.map((name) => ({ name }))
      return { 'meta-type': 'enum', members, values: type.enum }
    }
    if ('alternate' in type) {
      return { 'meta-type': 'alternate', members: type.alternate.map((one) => ({ type: this.#type(one) })) }
    }
    const members = Object.entries(type.struct).map(([key, ref]) =>
      key.startsWith('*')
        ? { name: key.slice(1), default: null, type: this.#ref(ref) }
        : { name: key, type: this.#ref(ref) },
    )
    if (type.tag === undefined) return { 'meta-type': 'object', members }
    const variants = this.#cases(type).map(([value, name]) => ({
      case: value,
      type: name === undefined ? this.#object('q_empty', {}) : this.#type(name),
    }))
    return { 'meta-type': 'object', members, tag: type.tag, variants }
  }

  /** Every value of the tag with the type of its members, if it has some. */
  #cases(type: Extract<TypeDefinition, { struct: Members }>): [string, string | undefined][] {
    const kind = this.#schema.type(String(type.struct[type.tag as string]))
    const values = kind !== undefined && 'enum' in kind ? kind.enum : []
    return values.map((value) => [value, type.variants?.[value]])
  }

  #add(name: string, describe: () => DescribedType): void {
    if (this.#known.has(name)) return
    this.#known.add(name)
    // Its place comes before what it refers to, which may refer to it again.
    const at = this.entries.length
    const entry = { name } as SchemaEntry
    this.entries.push(entry)
    this.entries[at] = { name, ...describe() }
  }
}

interface DescribedType {
  readonly 'meta-type': string
  readonly [member: string]: unknown
}

function isBuiltin(name: string): name is Builtin {
  return (builtins as readonly string[]).includes(name)
}
