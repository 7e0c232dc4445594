/** References so far behind the end of the file that they must be damaged: writing there would blow up the file. */
import type { ChildHandle } from '@diskgraph/core/driver'
import { hex } from '../bytes.ts'
import type { Qcow2State } from '../state.ts'

/** Clusters may be allocated and not written yet, so references may go this far behind the end of the file. */
const farWindow = 64 * 1024 * 1024

/** Whether a reference to what ends at `end` must be damaged. */
export function isFar(file: ChildHandle, end: number): boolean {
  return end > file.size + farWindow
}

/**
 * Undefined when the tables that the header points to are where they can be; else a promise that marks the image, and
 * rejects. Asked before anything is entered into them.
 */
export function guardRoots(state: Qcow2State): Promise<void> | undefined {
  const { file, store, corruption } = state
  for (const [name, table] of [
    ['L1', store.l1],
    ['Refcount', store.refcountTable],
  ] as const) {
    if (table.entries > 0 && isFar(file, table.offset + table.data.byteLength)) {
      return corruption.report(`${name} table offset ${hex(table.offset)} far behind the end of the file`)
    }
  }
  return undefined
}

/** Rejects, and marks the image, when a mapping of guest data points too far. */
export function guardDistance(
  state: Qcow2State,
  offset: number,
  host: number,
  length: number,
): Promise<void> | undefined {
  if (host + length <= state.farLimit || state.options.allowFarOffsets) return undefined
  state.farLimit = state.file.size + farWindow
  if (host + length <= state.farLimit) return undefined
  const message = `Data cluster offset ${hex(host)} far behind the end of the file (guest offset: ${hex(offset)})`
  return state.corruption.report(message, host, length)
}

/** Undefined when data may be written in place; else a promise that rejects, or resolves when it is known. */
export function guardInPlace(
  state: Qcow2State,
  offset: number,
  host: number,
  length: number,
): Promise<void> | undefined {
  const far = guardDistance(state, offset, host, length)
  return far ?? state.guardWrite(host, length)
}
