import type { ChildHandle, Children } from '../contract/contract.ts'
import { BlockError } from '../errors.ts'

/** The live view that a driver has of its children. */
export class ChildTable implements Children {
  readonly #edges: ReadonlyMap<string, ChildHandle>

  constructor(edges: ReadonlyMap<string, ChildHandle>) {
    this.#edges = edges
  }

  get(name: string): ChildHandle | undefined {
    return this.#edges.get(name)
  }

  require(name: string): ChildHandle {
    const edge = this.#edges.get(name)
    if (edge === undefined) throw new BlockError('EINVAL', `A block device must be specified for "${name}"`)
    return edge
  }

  list(name: string): readonly ChildHandle[] {
    const prefix = `${name}.`
    return [...this.#edges].filter(([key]) => key.startsWith(prefix)).map(([, edge]) => edge)
  }
}
