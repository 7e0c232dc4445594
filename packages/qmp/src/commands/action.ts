/**
 * Actions of a transaction. All of them are staged in one change of the graph, which is committed as a whole; what lies
 * outside of the graph follows: `commit` when it has been, `undo` when it could not be. A command that may be an action
 * is a transaction of one.
 */
import type { Change } from '@diskgraph/core'
import type { System } from '../system.ts'

/** One action. Each method is called once at most, in this order. */
export interface Action {
  /** Before the change, for what takes long: makes an image. */
  prepare?(): Promise<void>
  /** In the change: refuses what is wrong, stages what changes in the graph, and does what `undo` can undo. */
  stage(change: Change): Promise<void> | void
  /** The graph has changed. It must not fail. */
  commit?(): void
  /** Takes back what `stage` did outside of the graph. It must not fail. */
  undo?(): Promise<void> | void
  /** Afterwards, whatever has become of it. */
  finish?(success: boolean): Promise<void>
}

/** Runs all of `actions`, or none. */
export async function runActions({ graph }: System, actions: readonly Action[]): Promise<void> {
  const prepared: Action[] = []
  const staged: Action[] = []
  let success = false
  try {
    for (const action of actions) {
      prepared.push(action)
      await action.prepare?.()
    }
    await graph.change(async (change) => {
      for (const action of actions) {
        await action.stage(change)
        staged.push(action)
      }
      await change.commit()
      for (const action of actions) action.commit?.()
    })
    success = true
  } catch (error) {
    for (const action of staged.reverse()) await action.undo?.()
    throw error
  } finally {
    for (const action of prepared) await action.finish?.(success)
  }
}
