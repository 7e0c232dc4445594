/** `drivers`: the drivers that the tools come with or that are enabled, and what each can do. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type DriverDescriptor, Graph } from '@diskgraph/core'
import type { ImageMethod, OpenImage } from '@diskgraph/core/driver'
import { type Terminal, UsageError } from '@diskgraph/tools'
import type { Command } from '../command.ts'
import { CommandLine } from '../command-line.ts'
import { configurationPath } from '../driver-packages.ts'
import { formatAliases, usableDrivers } from '../drivers.ts'
import { outputGrammar } from '../image-options.ts'
import { styleFor } from '../style.ts'
import { table } from './table.ts'

const grammar = { ...outputGrammar, json: { long: 'json', description: 'short for --output=json' } } as const

/** What a driver can do. `image` is undefined where none could be made to look at. */
interface Abilities {
  readonly driver: DriverDescriptor
  /** The user has enabled it: it is none of those of the tools. */
  readonly enabled: boolean
  readonly image: readonly string[] | undefined
}

/** Prints a table, or with `--json` an array. */
export const driversCommand: Command = {
  group: 'other',
  summary: 'what drivers there are, and what each can do',
  operands: '',
  options: grammar,
  examples: [
    ['drivers', 'a table'],
    ['drivers --json', 'options and file names, too'],
  ],
  async run(words: readonly string[], terminal: Terminal): Promise<number> {
    let json = false
    const line = new CommandLine(grammar, words)
    for (const { name, value } of line) if (name === 'json' || value === 'json') json = true
    if (line.operands.length > 0) throw new UsageError(`Unexpected argument: ${line.operands[0]}`)
    const found: Abilities[] = []
    for (const entry of usableDrivers(terminal)) {
      const driver = 'load' in entry ? await entry.load() : entry
      const enabled = terminal.enabled?.includes(driver) === true
      found.push({ driver, enabled, image: await imageAbilities(driver) })
    }
    found.sort((a, b) => (a.driver.name < b.driver.name ? -1 : 1))
    terminal.out(json ? `${JSON.stringify(found.map(members), undefined, 2)}\n` : listing(found, terminal))
    return 0
  },
}

const size = 65536

/** What images of `driver` can do: as it says, or seen on a new one in memory; undefined where that is not possible. */
async function imageAbilities(driver: DriverDescriptor): Promise<string[] | undefined> {
  const { imageMethods } = driver
  if (imageMethods !== undefined) return abilitiesOf((name) => imageMethods.includes(name))
  const { memory } = await import('@diskgraph/driver-memory')
  await using graph = new Graph({ drivers: driver.name === 'memory' ? [driver] : [driver, memory] })
  const storage = { driver: 'memory', name: `abilities-of-${driver.name}` }
  try {
    if (driver.kind === 'format' && driver.create !== undefined) {
      await graph.createUnchecked({ driver: driver.name, size, file: { ...storage, size: 0 } })
      return seenOf((await graph.addUnchecked({ driver: driver.name, file: storage })).node.image)
    }
    if (driver.kind === 'protocol') return await protocolAbilities(graph, driver)
    const child = { ...storage, size }
    return seenOf((await graph.addUnchecked({ driver: driver.name, ...childOf(driver, child) })).node.image)
  } catch {
    return undefined
  }
}

/** What a protocol can do; one that stands for files shows it on a file in a temporary folder. */
async function protocolAbilities(graph: Graph, driver: DriverDescriptor): Promise<string[]> {
  if (driver.createOptions?.filename === undefined) {
    return seenOf((await graph.addUnchecked({ driver: driver.name })).node.image)
  }
  const folder = await mkdtemp(join(tmpdir(), 'diskgraph-drivers-'))
  try {
    const filename = join(folder, 'file')
    await graph.createUnchecked({ driver: driver.name, filename, size })
    const disk = await graph.addUnchecked({ driver: driver.name, filename })
    const abilities = seenOf(disk.node.image)
    await disk.close()
    return abilities
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** The options of a filter over `child`, with the least that it requires besides. */
function childOf(driver: DriverDescriptor, child: Record<string, unknown>): Record<string, unknown> {
  const options: Record<string, unknown> = {}
  for (const [name, schema] of Object.entries(driver.options)) {
    if (schema.type === 'child' && schema.role !== 'cow') options[name] = child
    else if (schema.type === 'children') options[name] = [child]
    else if (schema.type === 'integer' && schema.required) options[name] = schema.minimum ?? 1
  }
  return options
}

function seenOf(image: OpenImage): string[] {
  return abilitiesOf((name) => image[name] !== undefined)
}

function abilitiesOf(has: (method: ImageMethod) => boolean): string[] {
  const optional: readonly (readonly [name: string, method: ImageMethod])[] = [
    ['write', 'write'],
    ['zero', 'writeZeroes'],
    ['discard', 'discard'],
    ['resize', 'truncate'],
    ['map', 'blockStatus'],
    ['check', 'check'],
    ['snapshots', 'snapshots'],
    ['amend', 'amend'],
  ]
  return ['read', ...optional.filter(([, method]) => has(method)).map(([name]) => name)]
}

/** What the descriptor itself tells. */
function descriptorAbilities({ driver }: Abilities): string[] {
  const roles = Object.values(driver.options).map((schema) => (schema.type === 'child' ? schema.role : undefined))
  const optional: readonly (readonly [name: string, has: boolean])[] = [
    ['create', driver.create !== undefined],
    ['measure', driver.measure !== undefined],
    ['backing', roles.includes('cow')],
    ['probe', driver.kind === 'format' && driver.name !== 'raw' && driver.probe !== undefined],
  ]
  return optional.filter(([, has]) => has).map(([name]) => name)
}

function members(one: Abilities): Record<string, unknown> {
  const { driver, enabled, image } = one
  const aliases = aliasesOf(driver.name)
  return {
    name: driver.name,
    kind: driver.kind,
    description: driver.description,
    enabledByUser: enabled,
    capabilities: [...(image ?? []), ...descriptorAbilities(one)],
    capabilitiesComplete: image !== undefined,
    prefixes: driver.prefixes ?? [],
    ...(aliases.length === 0 ? {} : { aliases }),
    options: Object.keys(driver.options),
    createOptions: Object.keys(driver.createOptions ?? {}),
  }
}

function aliasesOf(name: string): string[] {
  return Object.entries(formatAliases).flatMap(([alias, format]) => (format === name ? [alias] : []))
}

const columns = {
  format: ['read', 'write', 'create', 'resize', 'backing', 'snapshots', 'check', 'amend', 'discard', 'map'],
  protocol: ['read', 'write', 'create', 'resize', 'zero', 'discard', 'map'],
  filter: ['read', 'write', 'resize', 'zero', 'discard', 'map'],
} as const

function listing(found: readonly Abilities[], terminal: Terminal): string {
  const style = styleFor(terminal)
  const parts: string[] = []
  for (const kind of ['format', 'protocol', 'filter'] as const) {
    const rows = found
      .filter(({ driver }) => driver.kind === kind)
      .map((one) => row(one, style.green('●'), style.dim('·')))
    if (rows.length === 0) continue
    const head = [`${kind}s`, ...columns[kind], 'file names'].map(style.bold)
    parts.push(table([head, ...rows]))
  }
  const note = found.some(({ enabled }) => enabled)
    ? `* enabled by you, with --driver or in ${configurationPath()}.`
    : `Others are enabled by --driver DRIVER in front of a command, or for every run in\n${configurationPath()}.`
  return `${parts.join('\n')}\n${style.dim(note)}\n`
}

function row(one: Abilities, yes: string, no: string): string[] {
  const { driver, image } = one
  const can = new Set([...(image ?? ['read']), ...descriptorAbilities(one)])
  const known = image !== undefined
  const cell = (column: string): string => {
    if (can.has(column)) return yes
    return known || column === 'create' || column === 'backing' ? no : '?'
  }
  const names = (driver.prefixes ?? []).map((prefix) => `${prefix}:`).join(' ')
  return [driver.name + (one.enabled ? '*' : ''), ...columns[driver.kind].map(cell), names]
}
