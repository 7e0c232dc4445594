/** QEMU's objects for TLS, as QMP and command lines define them: `tls-creds-…` and `authz-…`. */
import { readFileSync } from 'node:fs'
import { BlockError, describeErrorCode, errorCodeOf, type OptionSchemas, validateOptions } from '@diskgraph/core/driver'
import { type Authorizer, TlsCredentials } from './node-tls.ts'

/** Where objects live; a `Graph` has one. */
export interface ObjectHost {
  add(type: string, id: string, value: unknown): void
}

/** A rule of an access list. */
interface Rule {
  readonly match: string
  readonly policy: 'allow' | 'deny'
  readonly format: 'exact' | 'glob'
}

const text = { type: 'string', description: '' } as const
const yes = { type: 'boolean', default: true, description: '' } as const
const endpoint = { type: 'enum', values: ['client', 'server'], default: 'client', description: '' } as const
const credentials = { dir: text, endpoint, verifyPeer: yes, priority: text }
const policy = { type: 'enum', values: ['deny', 'allow'], default: 'deny', description: '' } as const
const format = { type: 'enum', values: ['exact', 'glob'], default: 'exact', description: '' } as const
const required = { required: true } as const
const rules = {
  type: 'list',
  default: [],
  description: '',
  items: {
    type: 'object',
    description: '',
    properties: { match: { ...text, ...required }, policy: { ...policy, ...required }, format },
  },
} as const

/** The types of objects that {@link addTlsObject} makes. */
export const tlsObjectTypes: readonly string[] = [
  'tls-creds-x509',
  'tls-creds-psk',
  'authz-simple',
  'authz-list',
  'authz-list-file',
]

/**
 * Adds an object to a graph's: credentials as `tls-creds`, a judge of certificates as `authz`. `properties` are QAPI's, in
 * camelCase. EINVAL for properties that are none, ENOENT and its kin when a file cannot be read, ENOTSUP for
 * anonymous credentials.
 */
export function addTlsObject(
  objects: ObjectHost,
  type: string,
  id: string,
  properties: Readonly<Record<string, unknown>>,
): void {
  switch (type) {
    case 'tls-creds-x509':
    case 'tls-creds-psk':
      objects.add('tls-creds', id, credentialsOf(type === 'tls-creds-psk' ? 'psk' : 'x509', properties))
      return
    case 'tls-creds-anon':
      throw new BlockError(
        'ENOTSUP',
        'anonymous TLS credentials protect from nobody who changes what is sent: use tls-creds-x509 or tls-creds-psk',
      )
    case 'authz-simple': {
      const { identity } = validateOptions({ identity: { ...text, ...required } }, properties)
      objects.add('authz', id, (name: string) => name === identity)
      return
    }
    case 'authz-list': {
      const list = validateOptions({ policy, rules }, properties) as unknown as { policy: string; rules: Rule[] }
      objects.add('authz', id, judgeBy(list))
      return
    }
    case 'authz-list-file':
      objects.add('authz', id, fileJudge(properties))
      return
    default:
      throw new BlockError('EINVAL', `'${type}' is no type of object for TLS`)
  }
}

function credentialsOf(type: 'x509' | 'psk', properties: Readonly<Record<string, unknown>>): TlsCredentials {
  const own: OptionSchemas = type === 'psk' ? { username: text } : { sanityCheck: yes, passwordid: text }
  const given = validateOptions({ ...credentials, ...own }, properties) as {
    dir?: string
    endpoint: 'client' | 'server'
    verifyPeer: boolean
    username?: string
    passwordid?: string
  }
  const { dir, username } = given
  if (dir === undefined) throw new BlockError('EINVAL', "Missing 'dir' property value")
  if (given.passwordid !== undefined) {
    throw new BlockError('ENOTSUP', 'keys with a password are not supported: store the key without one')
  }
  return new TlsCredentials({
    type,
    endpoint: given.endpoint,
    dir,
    verifyPeer: given.verifyPeer,
    ...(username === undefined ? {} : { username }),
  })
}

function judgeBy({
  policy: otherwise,
  rules,
}: {
  readonly policy: string
  readonly rules: readonly Rule[]
}): Authorizer {
  return (name) => {
    const rule = rules.find(({ match, format: how }) => (how === 'glob' ? globFits(match, name) : match === name))
    return (rule?.policy ?? otherwise) === 'allow'
  }
}

/** Whether `name` fits a pattern with `*` and `?`. */
function globFits(pattern: string, name: string): boolean {
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.')
  return new RegExp(`^${source}$`, 's').test(name)
}

/** The list in a file of JSON, read anew for each client unless `refresh` is off. */
function fileJudge(properties: Readonly<Record<string, unknown>>): Authorizer {
  const { filename, refresh } = validateOptions({ filename: { ...text, ...required }, refresh: yes }, properties)
  const read = (): Authorizer => {
    try {
      const list = validateOptions({ policy, rules }, JSON.parse(readFileSync(filename as string, 'utf8')))
      return judgeBy(list as unknown as { policy: string; rules: Rule[] })
    } catch (cause) {
      const reason = cause instanceof SyntaxError ? cause.message : describeErrorCode(errorCodeOf(cause))
      throw new BlockError('EINVAL', `Unable to read '${filename}': ${reason}`, { cause })
    }
  }
  const first = read()
  if (refresh === false) return first
  return (name) => {
    try {
      return read()(name)
    } catch {
      return false
    }
  }
}
