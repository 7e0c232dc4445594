import { BlockError } from '../errors.ts'

/** Objects of a graph that options of drivers name by their id: secrets, throttle groups, credentials. */
export class ObjectTable {
  readonly #objects = new Map<string, { readonly type: string; readonly value: unknown }>()

  /** Adds an object (`throttle-group`, `tls-creds`), or replaces one of the same type. EINVAL if another has the id. */
  add(type: string, id: string, value: unknown): void {
    const present = this.#objects.get(id)
    if (present !== undefined && present.type !== type) {
      throw new BlockError('EINVAL', `attempt to add duplicate property '${id}' to object (type 'container')`)
    }
    this.#objects.set(id, { type, value })
  }

  /** EINVAL if there is none of that type. */
  get(type: string, id: string): unknown {
    const found = this.find(type, id)
    if (found !== undefined) return found
    throw new BlockError('EINVAL', `No ${type} with id '${id}'`)
  }

  /** Undefined if there is none of that type. */
  find(type: string, id: string): unknown {
    const found = this.#objects.get(id)
    return found?.type === type ? found.value : undefined
  }

  /** EINVAL if there is none, EBUSY while somebody uses it: an object whose `inUse` is true says so. */
  delete(id: string): void {
    const found = this.#objects.get(id)
    if (found === undefined) throw new BlockError('EINVAL', `object '${id}' not found`)
    if ((found.value as { readonly inUse?: unknown } | null | undefined)?.inUse === true) {
      throw new BlockError('EBUSY', `object '${id}' is in use, can not be deleted`)
    }
    this.#objects.delete(id)
  }
}
