/** Objects, and what is asked of them. */
import { BlockError } from '@diskgraph/core'
import type { ReturnOf } from '@diskgraph/qapi'
import { objectTypes, propertiesOf } from '../objects/object-types.ts'
import type { System } from '../system.ts'
import type { Handlers } from './handlers.ts'

/** `object-add`, `object-del`, `qom-*`, `query-iothreads`, `x-blockdev-set-iothread`. */
export function objectCommands({ graph, objects, schema }: System): Handlers {
  return {
    'object-add': (options) => objects.add(options),
    'object-del': ({ id }) => objects.delete(id),
    'qom-list': ({ path }) => objects.list(path),
    'qom-get': ({ path, property }) => objects.get(path, property),
    'qom-set': ({ path, property, value }) => objects.set(path, property, value),
    'qom-list-types': ({ implements: name, abstract }) => objectTypes(name, abstract === true),
    'qom-list-properties': ({ typename }) => propertiesOf(schema, typename),
    'query-iothreads': () =>
      objects.all('iothread').map(({ id, get }) => {
        const number = (property: string): number => get(property) as number
        return {
          'poll-shrink': number('poll-shrink'),
          'thread-id': process.pid,
          'aio-max-batch': number('aio-max-batch'),
          'poll-grow': number('poll-grow'),
          'poll-max-ns': number('poll-max-ns'),
          id,
        } satisfies ReturnOf<'query-iothreads'>[number]
      }),
    // Everything runs in one thread: to name one is enough.
    'x-blockdev-set-iothread': ({ 'node-name': name, iothread }) => {
      if (graph.find(name) === undefined) {
        throw new BlockError('ENODEV', `Failed to find node with node-name='${name}'`)
      }
      if (typeof iothread === 'string' && !objects.has('iothread', iothread)) {
        throw new BlockError('ENODEV', `Cannot find iothread ${iothread}`)
      }
    },
  }
}
