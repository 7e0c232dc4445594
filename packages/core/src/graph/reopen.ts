/** Changing options of open nodes. */

import type { Prepared } from '../contract/contract.ts'
import { BlockError, errorCodeOf } from '../errors.ts'
import { baseOptions, checkBase, type ResolvedBase, resolveBase } from '../options/base-options.ts'
import { withoutChildSchemas } from '../options/child-options.ts'
import { isRecord, optional, validateOptions } from '../options/validate.ts'
import type { Node } from './node.ts'
import type { PermissionUpdate } from './permissions.ts'

/** New options of one node that wait for their commit: all of them take effect, or none. */
export class StagedReopen {
  readonly #node: Node
  #own: Readonly<Record<string, unknown>> = {}
  #next: ResolvedBase

  constructor(node: Node) {
    this.#node = node
    this.#next = {
      readOnly: node.readOnly,
      autoReadOnly: false,
      forceShare: node.forceShare,
      discard: node.discardMode,
      detectZeroes: node.detectZeroes,
      cache: node.cache,
    }
  }

  /** Adds `changes` (camelCase) to those that wait. EINVAL for options that cannot change, unless they stay the same. */
  add(changes: Readonly<Record<string, unknown>>): void {
    const node = this.#node
    if (!isRecord(changes))
      throw new BlockError('EINVAL', 'the changes of a node are options by name', { node: node.name })
    const schemas = { ...withoutChildSchemas(node.driver.options), ...baseOptions }
    const given = validateOptions(optional(schemas), this.#withoutSameChildren(changes), { withoutDefaults: true })
    for (const [name, value] of Object.entries(given)) {
      if (name in baseOptions && schemas[name]?.reopen) continue
      if (isSame(value, this.#present(name))) delete given[name]
      else if (!schemas[name]?.reopen) {
        throw new BlockError('EINVAL', `Cannot change the option '${name}'`, { node: node.name })
      }
    }
    const detectZeroes = given.detectZeroes ?? this.#next.detectZeroes
    this.#next = { ...resolveBase(given, this.#next), detectZeroes } as ResolvedBase
    const own = Object.entries(given).filter(([name]) => !(name in baseOptions))
    this.#own = { ...this.#own, ...Object.fromEntries(own) }
  }

  /** `changes` without children that are what they were. */
  #withoutSameChildren(changes: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
    const entries = Object.entries(changes).filter(([name, value]) => {
      const child = this.#node.children.get(name)?.node
      return child === undefined || (value !== child && value !== child.name)
    })
    return Object.fromEntries(entries)
  }

  /** What was said of an option that cannot change when the node was opened. */
  #present(name: string): unknown {
    const { driver, name: nodeName, forceShare, options } = this.#node
    if (!(name in baseOptions)) return { ...options, ...this.#own }[name]
    return { driver: driver.name, nodeName, forceShare }[name]
  }

  /** Lets the image make ready. The node is drained, and still in its old mode: its parents may write to it. */
  async prepare(): Promise<Prepared> {
    const node = this.#node
    checkBase(this.#next)
    if (!node.readOnly && this.#next.readOnly) await node.flush()
    const image = await this.#prepareImage(this.#options())
    return image ?? { commit: () => undefined, abort: () => undefined }
  }

  /** Sets the mode, when all images are ready, and tells `update` what it means for permissions. */
  setMode(update: PermissionUpdate): Prepared {
    const node = this.#node
    const next = this.#next
    const before = node.readOnly
    const abort = (): void => {
      node.readOnly = before
    }
    try {
      node.readOnly = next.readOnly
      if (before !== next.readOnly) {
        update.touch(node)
        update.touchChildren(node)
      }
    } catch (error) {
      abort()
      throw error
    }
    return {
      commit: () => {
        node.options = this.#options()
        node.spelled = Object.fromEntries(Object.entries(node.spelled).filter(([name]) => !(name in this.#own)))
        node.cache = next.cache
        node.discardMode = next.discard
        node.detectZeroes = next.detectZeroes
        node.reopened()
      },
      abort,
    }
  }

  /** Whether `error` says that writing is not possible, and that is well with whoever asked. */
  #mayStayReadOnly(error: unknown): boolean {
    const { autoReadOnly, readOnly } = this.#next
    return autoReadOnly && !readOnly && this.#node.readOnly && ['EACCES', 'EROFS'].includes(errorCodeOf(error))
  }

  #options(): Readonly<Record<string, unknown>> {
    return { ...this.#node.options, ...this.#own }
  }

  async #prepareImage(options: Readonly<Record<string, unknown>>): Promise<Prepared | undefined> {
    const { image, driver, name } = this.#node
    try {
      if (!this.#next.readOnly && image.write === undefined) {
        throw new BlockError('EROFS', `driver '${driver.name}' cannot write`, { node: name })
      }
      if (image.reopen !== undefined) {
        const complete = validateOptions(withoutChildSchemas(driver.options), options)
        const { readOnly, cache, discard } = this.#next
        return await image.reopen({ options: complete, readOnly, cache, discard })
      }
    } catch (error) {
      if (!this.#mayStayReadOnly(error)) throw error
      this.#next = { ...this.#next, readOnly: true }
      return this.#prepareImage(options)
    }
    const next = this.#next
    const needsDriver =
      Object.keys(this.#own).length > 0 ||
      next.readOnly !== this.#node.readOnly ||
      next.cache.direct !== this.#node.cache.direct
    if (!needsDriver || driver.kind === 'filter') return undefined
    throw new BlockError('ENOTSUP', `driver '${driver.name}' does not support reopening with these options`, {
      node: name,
    })
  }
}

/** Whether two valid values of an option are the same; objects of a program are only what they are themselves. */
function isSame(value: unknown, present: unknown): boolean {
  if (value === present) return true
  return isPlain(value) && isPlain(present) && JSON.stringify(value) === JSON.stringify(present)
}

function isPlain(value: unknown): boolean {
  return Array.isArray(value) || (isRecord(value) && Object.getPrototypeOf(value) === null)
}
