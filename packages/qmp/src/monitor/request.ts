/** What a client asks for. */
import { BlockError } from '@diskgraph/core'

/** A command to execute. */
export interface Request {
  readonly command: string
  readonly args: Readonly<Record<string, unknown>>
  readonly outOfBand: boolean
}

/** The id that the answer to `message` is to carry; in an object of its own, as it may be any value, or absent. */
export function idOf(message: unknown): { readonly id?: unknown } {
  return isObject(message) && 'id' in message ? { id: message.id } : {}
}

/** Reads a message. EINVAL for one that is no request. */
export function parseRequest(message: unknown): Request {
  if (!isObject(message)) throw new BlockError('EINVAL', 'QMP input must be a JSON object')
  let command: string | undefined
  let outOfBand = false
  let args: Readonly<Record<string, unknown>> = {}
  for (const [name, value] of Object.entries(message)) {
    if (name === 'execute' || name === 'exec-oob') {
      if (typeof value !== 'string') throw wrong(`member '${name}' must be a string`)
      if (command !== undefined) throw wrong("member 'execute' clashes with 'exec-oob'")
      command = value
      outOfBand = name === 'exec-oob'
    } else if (name === 'arguments') {
      if (!isObject(value)) throw wrong("member 'arguments' must be an object")
      args = value
    } else if (name !== 'id') throw wrong(`member '${name}' is unexpected`)
  }
  if (command === undefined) throw wrong("lacks member 'execute'")
  return { command, args, outOfBand }
}

function wrong(what: string): BlockError {
  return new BlockError('EINVAL', `QMP input ${what}`)
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
