/** Whether guests run. What devices do for them waits while they do not. */

import type { BlockGraph } from '@diskgraph/core'

/** Why guests do not run, or that they do; QAPI's RunState, as far as a block layer knows. */
export type RunStatus = 'running' | 'prelaunch' | 'paused' | 'io-error' | 'shutdown'

/** The run state of the guests of a graph. Raises `STOP` and `RESUME`. */
export class RunState {
  readonly #graph: Pick<BlockGraph, 'emit'>
  readonly #listeners = new Set<(status: RunStatus) => void>()
  #status: RunStatus

  constructor(graph: Pick<BlockGraph, 'emit'>, status: RunStatus = 'running') {
    this.#graph = graph
    this.#status = status
  }

  get status(): RunStatus {
    return this.#status
  }

  get running(): boolean {
    return this.#status === 'running'
  }

  /** Stops the guests. Nothing happens if they do not run. */
  stop(status: Exclude<RunStatus, 'running'> = 'paused'): void {
    if (!this.running) return
    this.#set(status, 'STOP')
  }

  /** Lets guests run again; requests that an error has stopped are tried anew. Nothing happens if they run. */
  cont(): void {
    if (this.running) return
    this.#set('running', 'RESUME')
  }

  /** Calls `listener` after each change; the result ends that. */
  onChange(listener: (status: RunStatus) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #set(status: RunStatus, event: string): void {
    this.#status = status
    this.#graph.emit({ event, data: {} })
    for (const listener of this.#listeners) listener(status)
  }
}
