/** `--object`: what QEMU's tools let people define on the command line. Secrets and TLS matter to images. */
import type { Graph } from '@diskgraph/core'
import { fromQapi } from '@diskgraph/core/internal'
import { CommandError } from '@diskgraph/tools'
import { asksForHelp, parseKeyValues, toObject } from './key-values.ts'

/** Objects of the command line, in their order. */
export type Objects = readonly GivenObject[]

/** One of them. */
interface GivenObject {
  readonly id: string
  /** Puts it where drivers find it. */
  addTo(graph: Graph): void | Promise<void>
}

/** `--object help`: nothing is done but to tell what there is. Thrown through the command to the program's end. */
export class ObjectHelpRequest extends Error {
  readonly #definition: string

  constructor(definition: string) {
    super('--object: help is asked for')
    this.#definition = definition
  }

  async text(): Promise<string> {
    const { objectHelp } = await import('@diskgraph/qapi')
    return objectHelp(this.#definition, isKnownType)
  }
}

/** Types whose code is loaded when one is defined. */
const tlsType = /^(tls-creds-(x509|psk|anon)|authz-(simple|list|list-file))$/

function isKnownType(type: string): boolean {
  return type === 'secret' || tlsType.test(type)
}

/**
 * The objects together with the one that `definition` (`secret,id=sec0,file=pw.txt`) adds.
 * @throws CommandError for an object of another type, without an id, or whose data cannot be read, ObjectHelpRequest for one that asks for help.
 */
export function addObject(objects: Objects, definition: string): Objects {
  if (!definition.startsWith('{') && asksForHelp(definition)) throw new ObjectHelpRequest(definition)
  const { 'qom-type': type, id, ...properties } = propertiesOf(definition)
  if (type === undefined) throw new CommandError("Parameter 'qom-type' is missing")
  if (!isKnownType(type)) {
    const hint = "'--object help' lists the types that there are"
    throw new CommandError(`Parameter 'qom-type' does not accept value '${type}'`, { hint })
  }
  if (id === undefined) throw new CommandError("Parameter 'id' is missing")
  if (objects.some((object) => object.id === id)) {
    throw new CommandError(`attempt to add duplicate property '${id}' to object (type 'container')`)
  }
  return [...objects, type === 'secret' ? secretObject(id, properties) : tlsObject(type, id, properties)]
}

/** Of a list of keys and values, or of JSON. What does not parse is not repeated: it may be a secret. */
function propertiesOf(definition: string): Readonly<Record<string, string>> {
  if (!definition.startsWith('{')) return toObject(parseKeyValues(definition, 'qom-type'))
  let value: unknown
  try {
    value = JSON.parse(definition)
  } catch {
    throw new CommandError('--object: its JSON cannot be parsed')
  }
  return Object.fromEntries(Object.entries(value as object).map(([name, inner]) => [name, textOf(name, inner)]))
}

function textOf(name: string, value: unknown): string {
  if (typeof value === 'string') return value
  if (typeof value === 'boolean') return value ? 'on' : 'off'
  throw new CommandError(`Invalid parameter type for '${name}', expected: string`)
}

/** Properties that a secret has; QAPI's SecretProperties. */
const secretProperties = ['data', 'file', 'format', 'keyid', 'iv']

function secretObject(id: string, properties: Readonly<Record<string, string>>): GivenObject {
  const unknown = Object.keys(properties).find((name) => !secretProperties.includes(name))
  if (unknown !== undefined) {
    const hint = `a secret has ${secretProperties.join(', ')}`
    throw new CommandError(`Parameter '${unknown}' is unexpected`, { hint })
  }
  const { format = 'raw', ...rest } = properties
  if (format !== 'raw' && format !== 'base64') {
    throw new CommandError(`Parameter 'format' does not accept value '${format}'`)
  }
  return {
    id,
    async addTo(graph) {
      const { secretBytes } = await import('@diskgraph/crypto')
      graph.addSecret(id, await secretBytes({ ...rest, format }, (other) => graph.secret(other)))
    },
  }
}

function tlsObject(type: string, id: string, properties: Readonly<Record<string, string>>): GivenObject {
  return {
    id,
    async addTo(graph) {
      const { addTlsObject } = await import('@diskgraph/nbd')
      addTlsObject(graph.objects, type, id, fromQapi(properties))
    },
  }
}
