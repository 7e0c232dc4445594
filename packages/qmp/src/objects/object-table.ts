/** Objects that options of nodes and exports name: secrets, limits, credentials, threads. */
import { BlockError, type Graph } from '@diskgraph/core'
import { fromQapi, toQapi } from '@diskgraph/core/internal'
import { secretBytes } from '@diskgraph/crypto'
import { TlsCredentials } from '@diskgraph/nbd'
import { type Schema, type TypeOf, validate } from '@diskgraph/qapi'
import { addThrottleGroup, findThrottleGroup } from '@diskgraph/throttle'
import { QmpError } from '../errors.ts'
import { isAuthorized } from './authorizers.ts'
import { defaultOf, type Property, propertiesOf } from './object-types.ts'

type ObjectOptions = TypeOf<'ObjectOptions'>

/** Where in the tree of objects something is. */
type Place = { readonly container: '/' | '/objects' } | { readonly id: string; readonly options: ObjectOptions }

/** See the top of the file. */
export class QomObjects {
  readonly #graph: Graph
  readonly #schema: Schema
  readonly #objects = new Map<string, ObjectOptions>()

  constructor(graph: Graph, schema: Schema) {
    this.#graph = graph
    this.#schema = schema
  }

  /** Makes an object. EINVAL for a wrong id or property, EEXIST for an id that is taken. */
  async add(options: ObjectOptions): Promise<void> {
    const { id } = options
    if (!/^[A-Za-z][\w.-]*$/.test(id)) throw new BlockError('EINVAL', "Parameter 'id' expects an identifier")
    if (this.#objects.has(id)) {
      throw new BlockError('EEXIST', `attempt to add duplicate property '${id}' to object (type 'container')`)
    }
    // The name is taken while a file is read.
    this.#objects.set(id, options)
    try {
      await this.#make(options)
    } catch (error) {
      this.#objects.delete(id)
      throw error
    }
  }

  /** ENOENT if there is none, EBUSY while somebody uses it. */
  delete(id: string): void {
    if (!this.#objects.has(id)) throw new BlockError('ENOENT', `object '${id}' not found`)
    this.#graph.objects.delete(id)
    this.#objects.delete(id)
  }

  /** Whether there is an object of that type by this id. */
  has(type: ObjectOptions['qom-type'], id: string): boolean {
    return this.#objects.get(id)?.['qom-type'] === type
  }

  /** The objects of a type, with all of their properties. */
  all(type: ObjectOptions['qom-type']): { readonly id: string; get(property: string): unknown }[] {
    return [...this.#objects].flatMap(([id, options]) =>
      options['qom-type'] === type ? [{ id, get: (property) => this.#value(id, options, property) }] : [],
    )
  }

  /** What is at a path. DeviceNotFound where nothing is. */
  list(path: string): Property[] {
    const place = this.#find(path)
    if ('options' in place) return propertiesOf(this.#schema, place.options['qom-type'])
    const type = { name: 'type', type: 'string' }
    if (place.container === '/') return [type, { name: 'objects', type: 'child<container>' }]
    return [type, ...[...this.#objects].map(([id, options]) => ({ name: id, type: `child<${options['qom-type']}>` }))]
  }

  /** A property of what is at a path. */
  get(path: string, property: string): unknown {
    const place = this.#find(path)
    if ('options' in place) {
      this.#mustHave(place.options['qom-type'], property)
      return this.#value(place.id, place.options, property)
    }
    const { container } = place
    if (property === 'type') return 'container'
    if (!this.list(path).some(({ name }) => name === property)) throw notThere('container', property)
    return `${container === '/' ? '' : container}/${property}`
  }

  /** Changes a property, where that changes what the object does. */
  set(path: string, property: string, value: unknown): void {
    const place = this.#find(path)
    const type = 'options' in place ? place.options['qom-type'] : 'container'
    this.get(path, property)
    if (!('options' in place) || property === 'type') {
      throw new BlockError('EINVAL', `Property '${type}.${property}' is not writable`)
    }
    const { id, options } = place
    const changed = validate(this.#schema, 'ObjectOptions', { ...options, [property]: value }) as ObjectOptions
    switch (type) {
      case 'throttle-group':
        if (property !== 'limits') throw new BlockError('EINVAL', 'Property cannot be set after initialization')
        findThrottleGroup(this.#graph, id)?.change(fromQapi(value as Readonly<Record<string, unknown>>))
        break
      case 'iothread':
        checkThread(changed)
        break
      case 'authz-simple':
      case 'authz-list':
        break
      default:
        throw new BlockError('ENOTSUP', `Property '${type}.${property}' cannot be changed`, {
          hint: 'delete the object, and add it again',
        })
    }
    this.#objects.set(id, changed)
  }

  #value(id: string, options: ObjectOptions, property: string): unknown {
    if (property === 'type') return options['qom-type']
    if (options['qom-type'] === 'throttle-group') {
      const limits = toQapi(findThrottleGroup(this.#graph, id)?.limits ?? {}) as Record<string, unknown>
      return property === 'limits' ? limits : limits[property.slice('x-'.length)]
    }
    return (options as Readonly<Record<string, unknown>>)[property] ?? defaultOf(property)
  }

  #mustHave(type: string, property: string): void {
    if (!propertiesOf(this.#schema, type).some(({ name }) => name === property)) throw notThere(type, property)
  }

  /** By a whole path, or by the end of one. */
  #find(path: string): Place {
    if (path === '') throw new BlockError('EINVAL', "Path '' is ambiguous")
    const parts = path.split('/').filter((part) => part !== '')
    if (parts.length === 0) return { container: '/' }
    if (parts.length === 1 && parts[0] === 'objects') return { container: '/objects' }
    const isInObjects = parts[0] === 'objects'
    const id = (isInObjects ? parts[1] : parts[0]) as string
    const options = this.#objects.get(id)
    if (options !== undefined && parts.length === (isInObjects ? 2 : 1) && (isInObjects || !path.startsWith('/'))) {
      return { id, options }
    }
    throw new QmpError('DeviceNotFound', `Device '${path}' not found`, 'ENODEV')
  }

  async #make(options: ObjectOptions): Promise<void> {
    const { id } = options
    const { objects } = this.#graph
    switch (options['qom-type']) {
      case 'secret':
        this.#graph.addSecret(id, await secretBytes(options, (other) => this.#graph.secret(other)))
        return
      // Everything runs in one thread here; whoever names one gets it.
      case 'iothread':
        checkThread(options)
        objects.add('iothread', id, options)
        return
      case 'throttle-group': {
        const { 'qom-type': _, id: _id, ...properties } = options
        addThrottleGroup(this.#graph, id, fromQapi(properties))
        return
      }
      case 'tls-creds-x509':
      case 'tls-creds-psk':
        objects.add('tls-creds', id, credentials(options))
        return
      case 'tls-creds-anon':
        objects.add('tls-creds', id, { server: refuseAnonymous, client: refuseAnonymous })
        return
      case 'authz-simple':
        objects.add('authz', id, (name: string) => name === this.#present<'AuthZSimpleProperties'>(id).identity)
        return
      case 'authz-list':
        objects.add('authz', id, (name: string) => isAuthorized(this.#present<'AuthZListProperties'>(id), name))
        return
    }
  }

  /** The properties as they are by now. */
  #present<Name extends 'AuthZSimpleProperties' | 'AuthZListProperties'>(id: string): TypeOf<Name> {
    return this.#objects.get(id) as unknown as TypeOf<Name>
  }
}

function refuseAnonymous(): never {
  throw new BlockError('ENOTSUP', 'anonymous TLS credentials protect from nobody who changes what is sent', {
    hint: 'use tls-creds-x509 or tls-creds-psk',
  })
}

function notThere(type: string, property: string): BlockError {
  return new BlockError('EINVAL', `Property '${type}.${property}' not found`)
}

/** The properties of a thread are told, and do nothing. */
function checkThread(options: ObjectOptions): void {
  for (const [name, value] of Object.entries(options)) {
    if (typeof value !== 'number' || value >= 0) continue
    throw new BlockError('EINVAL', `${name} value must be in range [0, 9223372036854775807]`)
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
