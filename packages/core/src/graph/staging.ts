/**
 * What a change has staged: moves that are made already, each with the step that undoes it; permissions and options that
 * wait for the commit; and what is to be done when it has succeeded. A commit takes all of it or nothing.
 */

import type { Prepared } from '../contract/contract.ts'
import { toBlockError } from '../errors.ts'
import { isRoot, type Node } from './node.ts'
import { PermissionUpdate } from './permissions.ts'
import { endPrepared } from './prepared.ts'
import { StagedReopen } from './reopen.ts'

/** See the top of the file. */
export class Staging {
  /** Nodes that have more permissions than they need, because an opening in this change must not give up any. */
  readonly kept = new Set<Node>()
  /** The permissions of the final shape. */
  update: PermissionUpdate
  readonly #reopens = new Map<Node, StagedReopen>()
  #undo: (() => void)[] = []
  #after: (() => void)[] = []
  readonly #warn: (message: string) => void

  constructor(warn: (message: string) => void) {
    this.#warn = warn
    this.update = new PermissionUpdate(warn)
  }

  /** Records how to take back a step that has just been made. */
  undo(step: () => void): void {
    this.#undo.push(step)
  }

  /** Runs `step` after the commit. */
  after(step: () => void): void {
    this.#after.push(step)
  }

  /** After the commit, `nodes` and all above them hear that what is below them may read as something else. */
  contentChanges(...nodes: Node[]): void {
    this.after(() => {
      const told = new Set(nodes)
      for (const node of told) {
        node.image.contentChanged?.()
        for (const parent of parentNodes(node)) told.add(parent)
      }
    })
  }

  /** Stages new options of nodes. */
  reopen(changes: ReadonlyMap<Node, Readonly<Record<string, unknown>>>): void {
    for (const [node, options] of changes) {
      const staged = this.#reopens.get(node) ?? new StagedReopen(node)
      staged.add(options)
      this.#reopens.set(node, staged)
    }
  }

  /** Applies what was staged, all of it or nothing; returns the nodes whose options are new. */
  async commit(): Promise<readonly Node[]> {
    const prepared: Prepared[] = []
    this.update.review(this.kept)
    try {
      const reopens = [...this.#reopens.values()]
      for (const reopen of reopens) prepared.push(await reopen.prepare())
      // Modes come first, for the last one is committed first.
      for (const reopen of reopens) prepared.unshift(reopen.setMode(this.update))
      prepared.push(await this.update.prepare())
    } catch (error) {
      endPrepared(prepared, 'abort', this.#warn)
      await this.rollBack()
      throw error
    }
    endPrepared(prepared, 'commit', this.#warn)
    const reopened = [...this.#reopens.keys()]
    const after = this.#after
    this.#forget()
    for (const step of after) this.#attempt(step)
    return reopened
  }

  /** Takes everything back. */
  async rollBack(): Promise<void> {
    for (const undo of this.#undo.reverse()) this.#attempt(undo)
    this.update = new PermissionUpdate(this.#warn)
    this.update.review(this.kept)
    await this.update.apply().catch((error) => this.#warn(toBlockError(error).message))
    this.#forget()
  }

  #forget(): void {
    this.kept.clear()
    this.#undo = []
    this.#after = []
    this.#reopens.clear()
    this.update = new PermissionUpdate(this.#warn)
  }

  #attempt(step: () => void): void {
    try {
      step()
    } catch (error) {
      this.#warn(`a step after a change of the graph failed: ${toBlockError(error).message}`)
    }
  }
}

/** Takes `key` out of a map; the result puts it back where it was. */
export function takeOut<Key, Value>(map: Map<Key, Value>, key: Key): () => void {
  const before = [...map]
  map.delete(key)
  return () => {
    map.clear()
    for (const [name, value] of before) map.set(name, value)
  }
}

export function parentNodes(node: Node): Node[] {
  return [...node.parents].flatMap(({ parent }) => (isRoot(parent) ? [] : [parent]))
}
