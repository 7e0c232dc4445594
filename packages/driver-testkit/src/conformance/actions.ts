/** The operations on a disk that tests start together or break off, each with what it means. */
import type { Disk } from '@diskgraph/core'
import { mod, type OptionSchemas } from '@diskgraph/core/driver'
import type { Random } from '../random.ts'
import type { DiskState } from './disk-state.ts'

/** What an action may come to. */
interface Outcome {
  readonly refused: boolean
  readonly state: DiskState
}

/** One operation on a disk. */
export interface Action {
  readonly text: string
  /** Runs alone: another operation sees all of it or nothing. */
  readonly whole: boolean
  run(disk: Disk, signal?: AbortSignal): Promise<unknown>
  /** All that it may come to on a disk in this state. */
  outcomes(state: DiskState): readonly Outcome[]
}

/** Makes an action that suits a disk in this state. */
type ActionMaker = (state: DiskState, random: Random) => Action

/** An action by its name, and the capabilities that a driver must have for it. */
export interface ActionKind {
  readonly name: string
  readonly needs: readonly string[]
  readonly whole: boolean
  readonly make: ActionMaker
}

const became = (state: DiskState): Outcome => ({ refused: false, state })
const refused = (state: DiskState): Outcome => ({ refused: true, state })

function rangeOf(size: number, random: Random): { offset: number; length: number } {
  const length = random.between(1, Math.max(1, Math.floor(size / 3)))
  return { offset: random.below(Math.max(1, size - length)), length: Math.min(length, size) }
}

/** An action of one request; it is refused when it passes the end, or when the disk is closed. */
function request(
  text: string,
  end: number,
  run: Action['run'],
  then: (state: DiskState) => DiskState = (state) => state,
): Action {
  return {
    text,
    whole: false,
    run,
    outcomes: (state) => [state.closed || end > state.size ? refused(state) : became(then(state))],
  }
}

/** An action that runs alone. */
function whole(text: string, run: Action['run'], then: (state: DiskState) => readonly Outcome[]): Action {
  return { text, whole: true, run, outcomes: (state) => (state.closed ? [refused(state)] : then(state)) }
}

function resize(size: number, name: string): Action {
  const run: Action['run'] = (disk, signal) => disk.truncate(size, {}, signal)
  return whole(`${name} to ${size}`, run, (state) => {
    // Internal snapshots of another size than the disk are what some formats cannot have.
    const also = state.snapshots.size > 0 ? [refused(state)] : []
    return [became(state.resized(size)), ...also]
  })
}

function take(name: string): Action {
  const run: Action['run'] = async (disk) => disk.snapshots.create({ name })
  return whole(`create snapshot ${name}`, run, (state) => [
    became(state.withSnapshots(new Map([...state.snapshots, [name, state]]))),
  ])
}

function remove(name: string): Action {
  const run: Action['run'] = async (disk) => disk.snapshots.delete(name)
  return whole(`delete snapshot ${name}`, run, (state) => {
    if (!state.snapshots.has(name)) return [refused(state)]
    return [became(state.withSnapshots(new Map([...state.snapshots].filter(([other]) => other !== name))))]
  })
}

function revert(name: string): Action {
  const run: Action['run'] = async (disk) => disk.snapshots.apply(name)
  return whole(`apply snapshot ${name}`, run, (state) => {
    const taken = state.snapshots.get(name)
    if (taken === undefined) return [refused(state)]
    const also = taken.size === state.size ? [] : [refused(state)]
    return [became(state.showing(taken)), ...also]
  })
}

/** A name that no snapshot had so far. */
let taken = 0

function anySnapshot(state: DiskState, random: Random): string {
  return state.snapshots.size === 0 ? 'none' : random.pick([...state.snapshots.keys()])
}

/** All kinds. */
export const actionKinds: readonly ActionKind[] = [
  {
    name: 'read',
    needs: [],
    whole: false,
    make: (state, random) => {
      const { offset, length } = rangeOf(state.size, random)
      const buf = new Uint8Array(length).fill(0xd6)
      return request(`read ${offset} +${length}`, offset + length, async (disk, signal) => {
        await disk.read(offset, buf, 0, signal)
        return { offset, buf }
      })
    },
  },
  {
    name: 'write',
    needs: ['write'],
    whole: false,
    make: (state, random) => {
      const { offset, length } = rangeOf(state.size, random)
      const data = new Uint8Array(length).fill(random.between(1, 255))
      return request(
        `write ${offset} +${length} of ${data[0]}`,
        offset + length,
        (disk, signal) => disk.write(offset, data, 0, signal),
        (before) => before.written(offset, data),
      )
    },
  },
  {
    name: 'write zeroes',
    needs: ['write'],
    whole: false,
    make: (state, random) => {
      const { offset, length } = rangeOf(state.size, random)
      const flags = random.chance(0.5) ? 2 : 0
      return request(
        `write zeroes ${offset} +${length} (flags ${flags})`,
        offset + length,
        (disk, signal) => disk.writeZeroes(offset, length, flags, signal),
        (before) => before.written(offset, new Uint8Array(length)),
      )
    },
  },
  {
    name: 'discard',
    needs: ['discard'],
    whole: false,
    make: (state, random) => {
      const { offset, length } = rangeOf(state.size, random)
      return request(
        `discard ${offset} +${length}`,
        offset + length,
        (disk, signal) => disk.discard(offset, length, signal),
        (before) => before.discarded(offset, length),
      )
    },
  },
  { name: 'flush', needs: [], whole: false, make: () => request('flush', 0, (disk, signal) => disk.flush(signal)) },
  {
    name: 'block status',
    needs: [],
    whole: false,
    make: () => ({
      text: 'block status',
      whole: false,
      // A disk that shrinks or closes meanwhile may end the walk with an error, or early.
      run: async (disk, signal) => {
        for await (const extent of disk.extents(signal === undefined ? {} : { signal })) void extent
      },
      outcomes: (state) => [became(state), refused(state)],
    }),
  },
  {
    name: 'grow',
    needs: ['grow'],
    whole: true,
    make: (state, random) => resize(state.size + 4096 * random.between(1, 5), 'grow'),
  },
  {
    name: 'shrink',
    needs: ['shrink'],
    whole: true,
    make: (state, random) =>
      resize(Math.max(mod(state.size, 4096) + 8192, state.size - 4096 * random.between(1, 5)), 'shrink'),
  },
  { name: 'create snapshot', needs: ['snapshots'], whole: true, make: () => take(`snapshot-${++taken}`) },
  {
    name: 'delete snapshot',
    needs: ['snapshots'],
    whole: true,
    make: (state, random) => remove(anySnapshot(state, random)),
  },
  {
    name: 'apply snapshot',
    needs: ['snapshots'],
    whole: true,
    make: (state, random) => revert(anySnapshot(state, random)),
  },
  {
    name: 'check',
    needs: ['check'],
    whole: true,
    make: () =>
      whole(
        'check',
        async (disk, signal) => checked(disk, signal),
        (state) => [became(state)],
      ),
  },
  {
    name: 'reopen',
    needs: [],
    whole: true,
    make: (_, random) => {
      const discard = random.pick(['ignore', 'unmap'])
      return {
        text: `reopen with discard: ${discard}`,
        whole: true,
        run: async (disk) => disk.graph.reopen(disk.node, { discard }),
        outcomes: (state) => [became(state), ...(state.closed ? [refused(state)] : [])],
      }
    },
  },
  {
    name: 'close',
    needs: [],
    whole: true,
    make: () => ({
      text: 'close',
      whole: true,
      run: (disk) => disk.close(),
      outcomes: (state) => [became(state.atClose()), ...(state.closed ? [refused(state)] : [])],
    }),
  },
]

async function checked(disk: Disk, signal: AbortSignal | undefined): Promise<void> {
  const found: string[] = []
  const { corruptions, checkErrors } = await disk.check({
    repair: 'none',
    onFinding: (kind, text) => found.push(`${kind}: ${text}`),
    ...(signal === undefined ? {} : { signal }),
  })
  if (corruptions + checkErrors > 0) throw new Error(`check finds fault: ${found.slice(0, 5).join('; ')}`)
}

/** The action that amends the first on-off option of the driver that may be; undefined where there is none. */
export function amending(createOptions: OptionSchemas | undefined): ActionKind | undefined {
  const found = Object.entries(createOptions ?? {}).find(
    ([, schema]) => schema.type === 'boolean' && schema.amend === true && schema.default !== undefined,
  )
  if (found === undefined) return undefined
  const [name] = found
  return {
    name: 'amend',
    needs: ['amend'],
    whole: true,
    make: (_, random) => {
      const value = random.chance(0.5)
      const run: Action['run'] = async (disk, signal) =>
        disk.amend({ options: { [name]: value }, ...(signal === undefined ? {} : { signal }) })
      return whole(`amend ${name} to ${value}`, run, (state) => [became(state), refused(state)])
    },
  }
}
