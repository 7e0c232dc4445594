/** The state of a virtual machine, kept behind the disk: from the first guest offset that no L2 table of the disk maps. */
import type { VmState } from '@diskgraph/core/driver'
import { growL1 } from '../amend/resize.ts'
import type { Qcow2State } from '../state.ts'
import { readRange } from './read.ts'
import { writeRange } from './write.ts'

/** The guest offset at which the VM state begins. */
export function vmStateOffset(state: Qcow2State): number {
  const { l2Span } = state.geometry
  return Math.ceil(state.size / l2Span) * l2Span
}

/** See the top of this file. */
export class Qcow2VmState implements VmState {
  private readonly state: Qcow2State
  /** What has to be done before the image is first written. */
  private readonly prepare: () => Promise<void>

  constructor(state: Qcow2State, prepare: () => Promise<void>) {
    this.state = state
    this.prepare = prepare
  }

  async read(offset: number, buf: Uint8Array, signal?: AbortSignal): Promise<void> {
    const held = this.state.file.debugEvent('vmstate_load')
    if (held !== undefined) await held
    return readRange(this.state, vmStateOffset(this.state) + offset, buf, signal)
  }

  async write(offset: number, buf: Uint8Array, signal?: AbortSignal): Promise<void> {
    await this.prepare()
    const { state } = this
    const held = state.file.debugEvent('vmstate_save')
    if (held !== undefined) await held
    const start = vmStateOffset(state) + offset
    const entries = Math.ceil((start + buf.byteLength) / state.geometry.l2Span)
    if (entries > state.store.l1.entries) await state.exclusively(() => growL1(state, entries))
    return writeRange(state, start, buf, signal)
  }
}
