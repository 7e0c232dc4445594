/** The dirty bitmaps of an image, for the core. The code that reads and writes them is loaded where there are any. */
import type { DirtyBitmap, StoredBitmaps } from '@diskgraph/core/driver'
import { seldom } from './lazy.ts'
import type { Qcow2State } from './state.ts'

/** See the top of this file. */
export class Qcow2Bitmaps implements StoredBitmaps {
  private readonly state: Qcow2State
  /** What has to be done before the image is first written. */
  readonly prepare: () => Promise<void>

  constructor(state: Qcow2State, prepare: () => Promise<void>) {
    this.state = state
    this.prepare = prepare
  }

  get list(): readonly DirtyBitmap[] {
    return this.state.bitmaps.flatMap(({ bitmap }) => bitmap ?? [])
  }

  get supported(): boolean {
    return this.state.header.value.version >= 3
  }

  async add(bitmap: DirtyBitmap): Promise<() => void> {
    await this.prepare()
    const { addBitmap } = await seldom()
    const { state } = this
    const added = addBitmap(state, bitmap)
    bitmap.persistent = true
    return () => {
      state.bitmaps = state.bitmaps.filter((one) => one !== added)
      bitmap.persistent = false
    }
  }

  async remove(bitmap: DirtyBitmap): Promise<() => void> {
    await this.prepare()
    const { removeBitmaps } = await seldom()
    const { state } = this
    const removed = state.bitmaps.filter((one) => one.bitmap === bitmap)
    await state.exclusively(() => removeBitmaps(state, removed))
    return () => {
      const again = removed.map((one) => ({ ...one, tableOffset: 0, storedChanges: -1 }))
      state.bitmaps = [...state.bitmaps, ...again]
    }
  }

  /** Writes them all into the image. Under the mutex. */
  async store(): Promise<void> {
    if (this.state.bitmaps.length === 0) return
    const { storeBitmaps } = await seldom()
    await storeBitmaps(this.state)
  }
}
