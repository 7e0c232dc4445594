/** Objects that options of nodes and exports name: secrets, and what else the program knows to make. */
import { readFile } from 'node:fs/promises'
import { BlockError, describeErrorCode, errorCodeOf } from '@diskgraph/core'
import { fromQapi } from '@diskgraph/core/internal'
import { TlsCredentials } from '@diskgraph/nbd'
import type { ReturnOf, TypeOf } from '@diskgraph/qapi'
import { addThrottleGroup } from '@diskgraph/throttle'
import { QmpError } from '../errors.ts'
import type { System } from '../system.ts'
import type { Handlers } from './handlers.ts'

type ObjectOptions = TypeOf<'ObjectOptions'>

/** `object-add`, `object-del`, `qom-list`, `qom-get`, `qom-set`, `qom-list-types`. */
export function objectCommands(system: System): Handlers {
  const objects = new Map<string, ObjectOptions>()
  return {
    'object-add': async (options) => {
      const { id } = options
      if (!/^[A-Za-z][\w.-]*$/.test(id)) throw new BlockError('EINVAL', "Parameter 'id' expects an identifier")
      if (objects.has(id)) {
        throw new BlockError('EEXIST', `attempt to add duplicate property '${id}' to object (type 'container')`)
      }
      await addObject(system, options)
      objects.set(id, options)
    },
    'object-del': ({ id }) => {
      if (!objects.has(id)) throw new BlockError('ENOENT', `object '${id}' not found`)
      system.graph.objects.delete(id)
      objects.delete(id)
    },
    'qom-list': ({ path }) => listProperties(objects, path),
    'qom-get': ({ path, property }) => readProperty(objects, path, property),
    'qom-set': ({ path, property }) => {
      readProperty(objects, path, property)
      throw new BlockError('ENOTSUP', `Property '${property}' cannot be changed: delete the object, and add it again`)
    },
    'qom-list-types': () => types.map((name) => ({ name, parent: 'object' })),
  }
}

const types = [
  'authz-list',
  'authz-simple',
  'iothread',
  'secret',
  'throttle-group',
  'tls-creds-psk',
  'tls-creds-x509',
] as const

async function addObject({ graph }: System, options: ObjectOptions): Promise<void> {
  const { id } = options
  switch (options['qom-type']) {
    case 'secret':
      graph.addSecret(id, await secretBytes(options))
      return
    // Everything runs in one thread here; whoever names one gets it.
    case 'iothread':
      graph.objects.add('iothread', id, options)
      return
    case 'throttle-group': {
      const { 'qom-type': _, id: _id, ...properties } = options
      addThrottleGroup(graph, id, fromQapi(properties))
      return
    }
    case 'tls-creds-x509':
    case 'tls-creds-psk':
      graph.objects.add('tls-creds', id, credentials(options))
      return
    case 'authz-simple': {
      const { identity } = options
      graph.objects.add('authz', id, (name: string) => name === identity)
      return
    }
    case 'authz-list':
      graph.objects.add('authz', id, listAuthorizer(options))
      return
    case 'tls-creds-anon':
      throw new BlockError('ENOTSUP', 'anonymous TLS credentials protect from nobody who changes what is sent', {
        hint: 'use tls-creds-x509 or tls-creds-psk',
      })
  }
}

function credentials(options: Extract<ObjectOptions, { 'qom-type': 'tls-creds-x509' | 'tls-creds-psk' }>) {
  const { dir, endpoint = 'client', 'verify-peer': verifyPeer } = options
  if (dir === undefined) throw new BlockError('EINVAL', "Missing 'dir' property value")
  return new TlsCredentials({
    type: options['qom-type'] === 'tls-creds-psk' ? 'psk' : 'x509',
    endpoint,
    dir,
    ...(verifyPeer === undefined ? {} : { verifyPeer }),
    ...(options['qom-type'] === 'tls-creds-psk' && options.username !== undefined
      ? { username: options.username }
      : {}),
  })
}

/** The first rule that fits a name decides; the policy where none does. */
function listAuthorizer({ policy = 'deny', rules = [] }: TypeOf<'AuthZListProperties'>): (name: string) => boolean {
  const tests = rules.map((rule) => ({
    allows: rule.policy === 'allow',
    fits: rule.format === 'glob' ? globTest(rule.match) : (name: string) => name === rule.match,
  }))
  return (name) => tests.find(({ fits }) => fits(name))?.allows ?? policy === 'allow'
}

/** Whether a name fits a pattern with `*` and `?`. */
function globTest(pattern: string): (name: string) => boolean {
  const parts = pattern.split(/([*?])/).map((part) => {
    if (part === '*') return '.*'
    return part === '?' ? '.' : part.replace(/[\\^$.|+()[\]{}]/g, '\\$&')
  })
  const test = new RegExp(`^${parts.join('')}$`, 's')
  return (name) => test.test(name)
}

async function secretBytes(options: TypeOf<'SecretProperties'>): Promise<Uint8Array> {
  const { data, file, format = 'raw', keyid, iv } = options
  if (keyid !== undefined || iv !== undefined) {
    throw new BlockError(
      'ENOTSUP',
      'encrypted secrets are not supported: give the secret by a file that is yours alone',
    )
  }
  if (data !== undefined && file !== undefined) {
    throw new BlockError('EINVAL', "'file' and 'data' are mutually exclusive")
  }
  if (data === undefined && file === undefined) {
    throw new BlockError('EINVAL', "Either 'file' or 'data' must be provided")
  }
  const bytes = file === undefined ? Buffer.from(data as string) : await readSecret(file)
  if (format === 'raw') return bytes
  const text = Buffer.from(bytes).toString('latin1').replace(/\s/g, '')
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) {
    throw new BlockError('EINVAL', 'Base64 data contains invalid characters')
  }
  return Buffer.from(text, 'base64')
}

async function readSecret(file: string): Promise<Uint8Array> {
  try {
    return await readFile(file)
  } catch (cause) {
    const code = errorCodeOf(cause)
    const message = `Unable to read ${file}: Failed to open file “${file}”: ${describeErrorCode(code)}`
    throw new BlockError(code, message, { cause })
  }
}

function listProperties(objects: ReadonlyMap<string, ObjectOptions>, path: string): ReturnOf<'qom-list'> {
  if (path === '/' || path === '') {
    return [
      { name: 'type', type: 'string' },
      { name: 'objects', type: 'child<container>' },
    ]
  }
  if (path === '/objects') {
    const children = [...objects].map(([id, { 'qom-type': type }]) => ({ name: id, type: `child<${type}>` }))
    return [{ name: 'type', type: 'string' }, ...children]
  }
  const properties = Object.entries(propertiesOf(objects, path))
  return properties.map(([name, value]) => ({ name, type: typeof value === 'boolean' ? 'bool' : typeof value }))
}

function readProperty(objects: ReadonlyMap<string, ObjectOptions>, path: string, property: string): unknown {
  const properties = propertiesOf(objects, path)
  if (Object.hasOwn(properties, property)) return properties[property]
  throw new BlockError('EINVAL', `Property '${String(properties.type)}.${property}' not found`)
}

/** What an object may be asked. The content of a secret is none of it. */
function propertiesOf(objects: ReadonlyMap<string, ObjectOptions>, path: string): Record<string, unknown> {
  const [, id = ''] = /^\/objects\/([^/]+)$/.exec(path) ?? []
  const options = objects.get(id)
  if (options === undefined) throw new QmpError('DeviceNotFound', `Device '${path}' not found`, 'ENODEV')
  const { 'qom-type': type, id: _, ...rest } = options
  const shown = Object.entries(rest).filter(([name]) => name !== 'data')
  return { type, ...Object.fromEntries(shown) }
}
