/** Descriptors that clients hand over, by name and in sets. */
import type { System } from '../system.ts'
import type { Handlers } from './handlers.ts'

/** `getfd`, `closefd`, `add-fd`, `remove-fd`, `query-fdsets`. */
export function descriptorCommands({ descriptors }: System): Handlers {
  return {
    getfd: ({ fdname }, client) => descriptors.name(fdname, client.takeDescriptor()),
    closefd: ({ fdname }) => descriptors.closeNamed(fdname),
    'add-fd': ({ 'fdset-id': id, opaque }, client) => descriptors.add(client.takeDescriptor(), id, opaque),
    'remove-fd': ({ 'fdset-id': id, fd }) => descriptors.remove(id, fd),
    'query-fdsets': () => descriptors.list(),
  }
}
