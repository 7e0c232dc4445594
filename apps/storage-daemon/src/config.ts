/**
 * `--config`: the options in a file of JSON. A member has the name of an option; its value is what the option takes, as an
 * object of the schema's or a text, or a list of such where the option may be given several times.
 */
import { readFileSync } from 'node:fs'
import { describeErrorCode, errorCodeOf } from '@diskgraph/core'
import { nearestName } from '@diskgraph/core/internal'
import { type GivenOption, optionNames } from './command-line.ts'
import { StartError } from './failure.ts'

/** Those that are lists of keys in text alone. */
const textual = new Set(['add-fd', 'chardev', 'drive', 'log', 'monitor'])
/** Those that are one text, given once. */
const single = new Set(['pidfile', 'metrics'])
/** Those that belong to the command line. */
const unfit = new Set(['help', 'version', 'trace', 'config', 'daemonize', 'demo'])

const mostBytes = 2 ** 20

/** Each refers to those before it only; a file, whose members have no order, is taken in this one. */
const order = [
  'log',
  'add-fd',
  'object',
  'chardev',
  'blockdev',
  'drive',
  'nbd-server',
  'export',
  'monitor',
  'metrics',
  'console',
  'pidfile',
  'allow-tcp',
  'allow-references',
]

/** The options that the file says, those first that others may refer to. Errors name the file and the member. */
export function readConfig(path: string): GivenOption[] {
  const config = parse(path)
  if (!isObject(config)) throw new StartError(`'${path}' holds no object: members named as the options are expected`)
  const members = Object.entries(config).sort(([one], [other]) => order.indexOf(one) - order.indexOf(other))
  return members.flatMap(([name, value]) => {
    const place = `${path}: ${name}`
    const takesValue = unfit.has(name) ? undefined : optionNames.get(name)
    if (takesValue === undefined) {
      const known = [...optionNames.keys()].filter((one) => !unfit.has(one))
      const near = nearestName(name, known)
      const advice = near === undefined ? `known are ${known.join(', ')}` : `did you mean '${near}'?`
      throw new StartError(`${place}: there is no such member; ${advice}`)
    }
    if (!takesValue) {
      if (typeof value !== 'boolean') throw new StartError(`${place}: true or false is expected`)
      return value ? [{ name, value: '', spelled: place }] : []
    }
    if (single.has(name) && typeof value !== 'string') throw new StartError(`${place}: a text is expected`)
    if (!Array.isArray(value)) return [{ name, value: optionText(name, value, place), spelled: place }]
    return value.map((one, i) => {
      const spelled = `${place}[${i}]`
      return { name, value: optionText(name, one, spelled), spelled }
    })
  })
}

function parse(path: string): unknown {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    throw new StartError(`Could not open '${path}': ${describeErrorCode(errorCodeOf(cause))}`, cause)
  }
  if (text.length > mostBytes) throw new StartError(`'${path}' is longer than ${mostBytes} bytes`)
  if (text.startsWith('\uFEFF')) {
    throw new StartError(`'${path}' begins with a byte order mark: save it as UTF-8 without one`)
  }
  let config: unknown
  try {
    config = JSON.parse(text)
  } catch (cause) {
    throw new StartError(`'${path}' is no JSON: ${(cause as Error).message}`, cause)
  }
  const twice = repeatedMember(text)
  if (twice !== undefined) {
    throw new StartError(`${path}: ${twice} stands there twice; an option that may be given several times takes a list`)
  }
  return config
}

/** The first member that an object of `text`, which is JSON, has twice: `JSON.parse` takes the last in silence. */
function repeatedMember(text: string): string | undefined {
  const objects: Set<string>[] = []
  for (const [token, colon] of text.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?|[{}]/g)) {
    if (token === '{') objects.push(new Set())
    else if (token === '}') objects.pop()
    else if (colon !== undefined) {
      const name: string = JSON.parse(token.slice(0, -colon.length))
      if (objects.at(-1)?.has(name)) return name
      objects.at(-1)?.add(name)
    }
  }
  return undefined
}

/** A value as the command line would have it. */
function optionText(name: string, value: unknown, place: string): string {
  if (typeof value === 'string' || typeof value === 'number') return String(value)
  if (!isObject(value)) throw new StartError(`${place}: an object or a text is expected`)
  if (!textual.has(name)) return JSON.stringify(value)
  return Object.entries(value)
    .map(([key, one]) => `${key}=${plainText(one, `${place}.${key}`).replaceAll(',', ',,')}`)
    .join(',')
}

function plainText(value: unknown, place: string): string {
  if (typeof value === 'boolean') return value ? 'on' : 'off'
  if (typeof value === 'string' || typeof value === 'number') return String(value)
  throw new StartError(`${place}: a text, a number, true or false is expected`)
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
