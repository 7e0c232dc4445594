/** `--object`: what QEMU's tools let people define on the command line. Only secrets matter to images. */

import { readFileSync } from 'node:fs'
import { describeErrorCode, errorCodeOf } from '@diskgraph/core'
import { CommandError } from '@diskgraph/tools'
import { parseKeyValues, toObject } from './key-values.ts'

/** Secrets by id. */
export type Secrets = Readonly<Record<string, Uint8Array | string>>

/**
 * The secrets together with the one that `definition` (`secret,id=sec0,file=pw.txt`) adds.
 * @throws CommandError for an object of another type, without an id, or whose data cannot be read.
 */
export function addObject(secrets: Secrets, definition: string): Secrets {
  const pairs = parseKeyValues(definition, 'qom-type')
  const { 'qom-type': type, id, data, file, format = 'raw', ...rest } = toObject(pairs)
  if (type === undefined) throw new CommandError("Parameter 'qom-type' is missing")
  if (type !== 'secret') throw new CommandError(`Parameter 'qom-type' does not accept value '${type}'`)
  if (id === undefined) throw new CommandError("Parameter 'id' is missing")
  const [unknown] = Object.keys(rest)
  if (unknown !== undefined) throw new CommandError(`Parameter '${unknown}' is unexpected`)
  if (id in secrets) throw new CommandError(`attempt to add duplicate property '${id}' to object (type 'container')`)
  return { ...secrets, [id]: decode(readSecret(data, file), format) }
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
