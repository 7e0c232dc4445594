/** The schema against QAPI's block core as it was in QEMU 2.1, of which the names are in block-core-2.1.json. */
import { readFileSync } from 'node:fs'
import type { DriverDescriptor, OptionSchema, OptionSchemas } from '@diskgraph/core/driver'
import { toKebabCase } from '@diskgraph/core/internal'
import { Schema } from '@diskgraph/qapi'
import { beforeAll, describe, expect, it } from 'vitest'
import { drivers } from '../../../apps/storage-daemon/src/driver-table.ts'
import type { Members, Ref } from '../src/notation.ts'

type Fields = Record<string, Ref>

interface Seed {
  readonly commands: Record<string, { readonly data?: string | Fields; readonly returns?: Ref }>
  readonly events: Record<string, Fields>
  readonly enums: Record<string, string[]>
  readonly structs: Record<string, { readonly base?: string; readonly members: Fields }>
  readonly unions: Record<string, { readonly base?: string; readonly variants: Record<string, string> }>
}

const seed: Seed = JSON.parse(readFileSync(new URL('block-core-2.1.json', import.meta.url), 'utf8'))

/** Types that have another name by now. */
const renamed: Readonly<Record<string, string>> = {
  BlockJobType: 'JobType',
  BlockdevSnapshot: 'BlockdevSnapshotSync',
}

const schema = new Schema(() => drivers.map(({ name }) => name))
const loaded = new Map<string, DriverDescriptor>()

beforeAll(async () => {
  for (const driver of drivers) {
    const descriptor = await driver.load()
    loaded.set(driver.name, descriptor)
    schema.addDriver(descriptor)
  }
})

/** The members of a type, or of arguments given directly, whatever its tag says. */
function membersOf(data: string | Members | undefined): Members {
  if (data === undefined) return {}
  if (typeof data !== 'string') return data
  const type = schema.type(data)
  if (type === undefined || !('struct' in type)) throw new Error(`no struct '${data}'`)
  const variants = Object.values(type.variants ?? {}).map((name) => membersOf(name))
  return Object.assign({}, ...variants, type.struct)
}

function seedMembers(data: string | Fields | undefined): Fields {
  if (data === undefined) return {}
  if (typeof data !== 'string') return data
  const struct = seed.structs[data]
  if (struct === undefined) throw new Error(`the seed has no type '${data}'`)
  return { ...seedMembers(struct.base), ...struct.members }
}

function plain(name: string): string {
  return name.replace(/^\*/, '')
}

function missing(own: object, old: object): string[] {
  const known = new Set(Object.keys(own).map(plain))
  return Object.keys(old)
    .map(plain)
    .filter((name) => !known.has(name))
}

/** Names that are demanded here although they may be left out there. */
function stricter(own: object, old: object): string[] {
  return Object.keys(old).filter((name) => name.startsWith('*') && plain(name) in own)
}

describe('the schema knows of QEMU 2.1', () => {
  it.each(Object.entries(seed.commands))('the command %s with every argument', (name, { data, returns }) => {
    const command = schema.command(name)
    if (command === undefined) throw new Error(`no command '${name}'`)
    const own = { ...membersOf(command.data), ...command.older }
    const old = seedMembers(data)
    expect([...missing(own, old), ...stricter(own, old)]).toEqual([])
    expect(command.returns === undefined).toBe(returns === undefined)
  })

  it.each(Object.entries(seed.events))('the event %s with every field', (name, data) => {
    expect(missing(schema.event(name) ?? {}, data)).toEqual([])
  })

  const ofNodes = /^(BlkdebugEvent|BlockdevDriver)$/
  const enums = Object.entries(seed.enums).filter(([name]) => !ofNodes.test(name))
  it.each(enums)('every value of the enum %s', (name, values) => {
    const type = schema.type(renamed[name] ?? name)
    expect(type !== undefined && 'enum' in type ? type.enum : []).toEqual(expect.arrayContaining(values))
  })

  const ofDrivers = /^(BlockdevOptions(?!Base).*|Blkdebug.*)$/
  it.each(Object.keys(seed.structs).filter((name) => !ofDrivers.test(name)))('every field of the type %s', (name) => {
    expect(missing(membersOf(renamed[name] ?? name), seedMembers(name))).toEqual([])
  })

  it('every variant of what is told of formats', () => {
    const type = schema.type('ImageInfoSpecific')
    const own = type !== undefined && 'struct' in type ? (type.variants ?? {}) : {}
    expect(missing(own, seed.unions.ImageInfoSpecific?.variants ?? {})).toEqual([])
  })

  it('nodes by definition and by reference', () => {
    expect(schema.type('BlockdevRef')).toEqual({ alternate: ['BlockdevOptions', 'str'] })
  })
})

describe('of the drivers of QEMU 2.1', () => {
  const isPresent = (name: string): boolean => drivers.some((driver) => driver.name === name)

  // Which of them are here, and that each opens, is told by every-driver.test.ts of the daemon.
  const present = Object.entries(seed.unions.BlockdevOptions?.variants ?? {}).filter(([name]) => isPresent(name))
  it.each(present)('%s has every option', (name, struct) => {
    const driver = loaded.get(name) as DriverDescriptor
    const options = Object.keys(seedMembers(struct)).map(plain)
    expect(options.filter((option) => !takes(driver, option))).toEqual([])
  })

  it('blkdebug has every event, and every option of its rules', () => {
    const { injectError, setState } = (loaded.get('blkdebug') as DriverDescriptor).options
    const [inject, set] = [ruleOptions(injectError), ruleOptions(setState)]
    const { event } = inject
    expect(event?.type === 'enum' ? event.values : []).toEqual(expect.arrayContaining(seed.enums.BlkdebugEvent ?? []))
    expect(missing(byWireName(inject), seedMembers('BlkdebugInjectErrorOptions'))).toEqual([])
    expect(missing(byWireName(set), seedMembers('BlkdebugSetStateOptions'))).toEqual([])
  })
})

function ruleOptions(list: OptionSchema | undefined): OptionSchemas {
  return list?.type === 'list' && list.items.type === 'object' ? list.items.properties : {}
}

function byWireName(options: OptionSchemas): OptionSchemas {
  return Object.fromEntries(Object.entries(options).map(([name, schema]) => [schema.qapi ?? toKebabCase(name), schema]))
}

/** A protocol that takes a URL is given it as a file name by older clients. */
function takes({ options, parseFilename }: DriverDescriptor, option: string): boolean {
  return option in byWireName(options) || (option === 'filename' && parseFilename !== undefined)
}
