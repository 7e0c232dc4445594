/**
 * A storage that runs full. It has space for so many bytes that are really stored, and says ENOSPC to a write that needs
 * more, after it has taken what fits. Whatever was acknowledged stays readable, whatever was flushed survives a crash,
 * and the same node goes on when there is space again.
 */
import type { Disk } from '@diskgraph/core'
import { errorCodeOf } from '@diskgraph/core/driver'
import { must, mustSettle } from '../assertions.ts'
import { type Action, actionKinds } from './actions.ts'
import { DiskState } from './disk-state.ts'
import type { Case, Fixture } from './fixture.ts'
import { contentOf, UsedDisk } from './used-disk.ts'

/** Pages of 4 KiB that are left, run after run. */
const spare = [0, 1, 2, 3, 5, 8, 13, 21, 34]

/** A disk on a full storage, and what a crash must not take from it. */
class Filling {
  readonly used: UsedDisk
  /** How often the storage was full. */
  full = 0
  /** What was flushed last. */
  #flushed: Uint8Array
  /** Which bytes were changed since. */
  #changed: Uint8Array

  constructor(used: UsedDisk) {
    this.used = used
    this.#flushed = used.state.bytes
    this.#changed = new Uint8Array(used.state.size)
  }

  /** Runs one action; a failure must be ENOSPC, and leave each byte as it was or as it should be. */
  async run(action: Action): Promise<void> {
    const { used } = this
    const before = used.state
    const [outcome] = action.outcomes(before)
    const after = (outcome as { state: DiskState }).state
    const failure = await mustSettle(
      action.run(used.disk).then(() => undefined),
      `'${action.text}'`,
    ).catch((error: unknown) => error)
    const code = failure === undefined ? undefined : errorCodeOf(failure)
    must(code === undefined || code === 'ENOSPC', `'${action.text}' on a full storage: ${String(failure)}`)
    if (code !== undefined) this.full++
    const bytes = await mustSettle(contentOf(used.disk), 'a read of a disk on a full storage')
    for (let i = 0; i < bytes.length; i++) {
      const got = bytes[i] as number
      const right = after.allows(i, got) || (code !== undefined && before.allows(i, got))
      must(right, `after '${action.text}' (${code ?? 'done'}), byte ${i} is ${got} instead of ${after.bytes[i]}`)
      if (after.bytes[i] !== before.bytes[i] || after.others[i] !== before.bytes[i]) this.#changed[i] = 1
    }
    used.state = before.settled(bytes)
    if (action.text === 'flush' && code === undefined) this.#remember(bytes)
  }

  #remember(bytes: Uint8Array): void {
    this.#flushed = bytes
    this.#changed.fill(0)
  }

  /** Takes the files as they are now, as a crash would, and looks at them in another graph. */
  async crash(): Promise<void> {
    const { fixture } = this.used
    const disk = await fixture.open()
    const bytes = await contentOf(disk)
    const lost = bytes.findIndex((byte, i) => this.#changed[i] === 0 && byte !== this.#flushed[i])
    must(lost < 0, `byte ${lost} was flushed as ${this.#flushed[lost]} and is ${bytes[lost]} after a crash`)
    await mustBeSound(disk)
    this.used.disk = disk
    this.used.state = new DiskState(bytes)
  }
}

/** Leaks are what a full storage may leave behind; corruptions are not. */
async function mustBeSound(disk: Disk): Promise<void> {
  if (disk.node.image.check === undefined) return
  const found: string[] = []
  const onFinding = (kind: string, text: string): void => void (kind === 'error' && found.push(text))
  const { corruptions } = await disk.check({ repair: 'leaks', onFinding })
  must(corruptions === 0, `check finds ${corruptions} corruptions on a full storage: ${found.slice(0, 3).join('; ')}`)
}

async function fill(fixture: Fixture): Promise<void> {
  const used = await UsedDisk.open(fixture)
  const kinds = actionKinds.filter(
    ({ name, needs }) =>
      ['write', 'write zeroes', 'discard', 'flush'].includes(name) &&
      needs.every((need) => fixture.capabilities.has(need)),
  )
  let full = 0
  for (const pages of spare) {
    fixture.files.limitSpace(pages * 4096)
    const filling = new Filling(used)
    for (let i = 0; i < 12; i++) await filling.run(fixture.random.pick(kinds).make(used.state, fixture.random))
    full += filling.full
    const copies = [...fixture.files.byName].map(([name, file]) => [name, file.clone()] as const)
    fixture.files.limitSpace(Number.POSITIVE_INFINITY)
    await goOn(used, pages)
    for (const [name, file] of copies) fixture.files.put(name, file)
    await filling.crash()
  }
  must(full > 0, 'the storage was never full: the test proves nothing')
}

/** There is space again: the same node takes everything. */
async function goOn(used: UsedDisk, pages: number): Promise<void> {
  const what = `space again after ${pages} spare pages`
  const data = used.fixture.random.bytes(used.disk.size)
  await used.disk.flush()
  const before = await contentOf(used.disk)
  const fault = used.state.faultOf(before)
  must(fault === undefined, `${what}: ${fault}`)
  await used.disk.write(0, data)
  await used.disk.flush()
  await used.disk.close()
  await used.reopen()
  used.state = used.state.written(0, data)
  await used.settle([used.state], what)
  await mustBeSound(used.disk)
  await used.disk.close()
}

/** What holds when the storage is full. */
export const fullStorageCases: readonly Case[] = [
  {
    name: 'says ENOSPC on a full storage, loses nothing that it has acknowledged, and goes on when there is space',
    needs: ['write', 'persistence', 'file'],
    blank: true,
    size: 2 ** 19 + 3 * 512,
    run: fill,
  },
]
