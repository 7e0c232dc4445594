/** The types that follow from the drivers: what a node of each takes, and what is to be said of a new image. */
import type { DriverDescriptor, OptionSchema, OptionSchemas } from '@diskgraph/core/driver'
import { toKebabCase } from '@diskgraph/core/internal'
import type { Members, Ref, TypeDefinition } from './notation.ts'
import { nodeTypes } from './schema/node.ts'

/** The types of BlockdevOptions and of options for new images, which grow with each driver that is added. */
export class DriverTypes {
  readonly #names: () => Iterable<string>
  readonly #drivers = new Set<string>()
  readonly #types = new Map<string, TypeDefinition>()
  readonly #open = new Map<string, string>()
  readonly #create = new Map<string, string>()
  readonly #amend = new Map<string, string>()

  /** `names` tells the drivers that there are, known here or not. */
  constructor(names: () => Iterable<string>) {
    this.#names = names
  }

  /** Makes the options of `driver` known. */
  add(driver: DriverDescriptor): void {
    if (this.#drivers.has(driver.name)) return
    this.#drivers.add(driver.name)
    const own = pascal(driver.name)
    this.#open.set(driver.name, this.#struct(`BlockdevOptions${own}`, driver.options))
    const { createOptions } = driver
    if (createOptions === undefined) return
    const { file, ...rest } = createOptions
    const storage: OptionSchemas =
      driver.kind === 'format' ? { file: { type: 'child', role: 'storage', required: true, description: '' } } : {}
    const naming = driver.kind === 'protocol' ? driver.options : {}
    const create = { ...pick(naming, (schema) => schema.required === true), ...storage, ...rest }
    this.#create.set(driver.name, this.#struct(`BlockdevCreateOptions${own}`, create))
    const amendable = driver.amendOptions ?? pick(createOptions, (schema) => schema.amend === true)
    if (Object.keys(amendable).length === 0) return
    this.#amend.set(driver.name, this.#struct(`BlockdevAmendOptions${own}`, optional(amendable)))
  }

  /** The type called `name`, if it is one of these. */
  get(name: string): TypeDefinition | undefined {
    if (name === 'BlockdevDriver') return { enum: [...this.#names()] }
    if (name === 'BlockdevOptions') return { ...nodeTypes.BlockdevOptionsBase, ...tagged(this.#open) }
    if (name === 'BlockdevCreateOptions') return { struct: driverOnly, ...tagged(this.#create) }
    if (name === 'BlockdevAmendOptions') return { struct: driverOnly, ...tagged(this.#amend) }
    return this.#types.get(name)
  }

  #struct(name: string, schemas: OptionSchemas): string {
    return this.#define(name, { struct: this.#members(name, schemas) })
  }

  #members(name: string, schemas: OptionSchemas): Members {
    const members: Record<string, Ref> = {}
    for (const [key, schema] of Object.entries(schemas)) {
      if (schema.type === 'value') continue
      const member = schema.qapi ?? toKebabCase(key)
      // A file name has a default where the driver tells of its lack in words of its own.
      const required = schema.required || key === 'filename'
      const ref = this.#ref(`${name}${pascal(key)}`, schema)
      members[required ? member : `*${member}`] = ref
      for (const alias of schema.aliases ?? []) members[`*${toKebabCase(alias)}`] = ref
    }
    return members
  }

  #ref(name: string, schema: OptionSchema): Ref {
    switch (schema.type) {
      case 'boolean':
        return 'bool'
      case 'string':
        return 'str'
      case 'number':
        return 'number'
      case 'integer':
        return schema.size ? 'size' : 'int'
      case 'enum':
        return this.#define(name, { enum: schema.values })
      case 'object':
        return this.#struct(name, schema.properties)
      case 'list':
        return [this.#single(`${name}Item`, schema.items)]
      case 'child':
        return schema.role === 'cow' ? 'BlockdevRefOrNull' : 'BlockdevRef'
      case 'children':
        return ['BlockdevRef']
      case 'null':
        return 'null'
      case 'alternate':
        return this.#define(name, { alternate: schema.of.map((one, i) => this.#single(`${name}${i}`, one)) })
      case 'union': {
        const values = Object.keys(schema.variants)
        const tag = schema.tag
        const variants = values.map((value) => [
          value,
          this.#struct(`${name}${pascal(value)}`, schema.variants[value] as OptionSchemas),
        ])
        const kind = this.#define(`${name}Kind`, { enum: values })
        return this.#define(name, {
          struct: { [toKebabCase(tag)]: kind },
          tag: toKebabCase(tag),
          variants: Object.fromEntries(variants),
        })
      }
      case 'value':
        return 'any'
    }
  }

  /** A name for `schema`, which may be a list: no list of lists is there, and none among alternatives. */
  #single(name: string, schema: OptionSchema): string {
    const ref = this.#ref(name, schema)
    return typeof ref === 'string' ? ref : ref[0]
  }

  #define(name: string, definition: TypeDefinition): string {
    this.#types.set(name, definition)
    return name
  }
}

const driverOnly = { driver: 'BlockdevDriver' } as const

function tagged(variants: ReadonlyMap<string, string>): { tag: string; variants: Record<string, string> } {
  return { tag: 'driver', variants: Object.fromEntries(variants) }
}

function pick(schemas: OptionSchemas, wanted: (schema: OptionSchema) => boolean): OptionSchemas {
  return Object.fromEntries(Object.entries(schemas).filter(([, schema]) => wanted(schema)))
}

function optional(schemas: OptionSchemas): OptionSchemas {
  return Object.fromEntries(Object.entries(schemas).map(([name, schema]) => [name, { ...schema, required: false }]))
}

/** `copy-on-read` as `CopyOnRead`. */
function pascal(name: string): string {
  return name.replace(/(^|[-_.])([a-z0-9])/g, (_, _separator, letter: string) => letter.toUpperCase())
}
