/** `--object`: what QEMU's tools let people define on the command line. Secrets and TLS matter to images. */
import { readFileSync } from 'node:fs'
import { describeErrorCode, errorCodeOf, type Graph } from '@diskgraph/core'
import { fromQapi } from '@diskgraph/core/internal'
import { CommandError } from '@diskgraph/tools'
import { parseKeyValues, toObject } from './key-values.ts'

/** Objects of the command line, in their order. */
export type Objects = readonly GivenObject[]

/** One of them. */
interface GivenObject {
  readonly id: string
  /** Puts it where drivers find it. */
  addTo(graph: Graph): void | Promise<void>
}

/** Types whose code is loaded when one is defined. */
const tlsType = /^(tls-creds-(x509|psk|anon)|authz-(simple|list|list-file))$/

/**
 * The objects together with the one that `definition` (`secret,id=sec0,file=pw.txt`) adds.
 * @throws CommandError for an object of another type, without an id, or whose data cannot be read.
 */
export function addObject(objects: Objects, definition: string): Objects {
  const pairs = parseKeyValues(definition, 'qom-type')
  const { 'qom-type': type, id, ...properties } = toObject(pairs)
  if (type === undefined) throw new CommandError("Parameter 'qom-type' is missing")
  if (type !== 'secret' && !tlsType.test(type)) {
    throw new CommandError(`Parameter 'qom-type' does not accept value '${type}'`)
  }
  if (id === undefined) throw new CommandError("Parameter 'id' is missing")
  if (objects.some((object) => object.id === id)) {
    throw new CommandError(`attempt to add duplicate property '${id}' to object (type 'container')`)
  }
  return [...objects, type === 'secret' ? secretObject(id, properties) : tlsObject(type, id, properties)]
}

function secretObject(id: string, properties: Readonly<Record<string, string>>): GivenObject {
  const { data, file, format = 'raw', ...rest } = properties
  const [unknown] = Object.keys(rest)
  if (unknown !== undefined) throw new CommandError(`Parameter '${unknown}' is unexpected`)
  const secret = decode(readSecret(data, file), format)
  return { id, addTo: (graph) => graph.addSecret(id, secret) }
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

function readSecret(data: string | undefined, file: string | undefined): Uint8Array {
  if (data !== undefined && file !== undefined) {
    throw new CommandError("'file' and 'data' are mutually exclusive")
  }
  if (data !== undefined) return Buffer.from(data)
  if (file === undefined) throw new CommandError("Either 'file' or 'data' must be provided")
  try {
    return readFileSync(file)
  } catch (cause) {
    const reason = describeErrorCode(errorCodeOf(cause))
    throw new CommandError(`Unable to read ${file}: Failed to open file “${file}”: ${reason}`, { cause })
  }
}

function decode(bytes: Uint8Array, format: string): Uint8Array {
  if (format === 'raw') return bytes
  if (format !== 'base64') throw new CommandError(`Parameter 'format' does not accept value '${format}'`)
  const text = Buffer.from(bytes).toString('latin1').replace(/\s/g, '')
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) {
    throw new CommandError('Base64 data contains invalid characters')
  }
  return Buffer.from(text, 'base64')
}
