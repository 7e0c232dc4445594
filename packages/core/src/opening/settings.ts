/** What a graph is made with, how it opens, and what it tells. */
import type { RandomSource } from '../clock.ts'
import type { DriverDescriptor } from '../contract/descriptor.ts'
import { BlockError } from '../errors.ts'
import type { BlockGraphSettings } from '../graph/block-graph.ts'
import type { AttachSettings } from '../graph/disk.ts'
import { kindOf, mustBeFunction } from '../inspection.ts'
import { checkSettings, type Rule, rule } from '../options/settings.ts'
import { isRecord } from '../options/validate.ts'
import type { ReferencePolicy } from './gate.ts'
import type { DriverResolver, LazyDriver } from './registry.ts'

/** Settings of a {@link Graph}. */
export interface GraphSettings extends BlockGraphSettings {
  /** The drivers that the graph may use; nothing else is loaded. */
  readonly drivers: Iterable<DriverDescriptor | LazyDriver>
  /** Finds a driver by name that is not in `drivers`. */
  readonly resolveDriver?: DriverResolver
  /** What to do with references inside images. Default: only neighbours with a recorded format. */
  readonly references?: ReferencePolicy
  /** Longest backing chain. Default 256. */
  readonly maxDepth?: number
  /** Secret objects by id, for drivers whose options name one. */
  readonly secrets?: Readonly<Record<string, Uint8Array | string>>
  /** Where the drivers get chance from. Default: the system. */
  readonly random?: RandomSource
}

/** How {@link Graph.open} and {@link Graph.add} open. */
export interface OpenSettings extends AttachSettings {
  /** Look at this image only: follow no reference, write nothing. */
  readonly inspect?: boolean | undefined
  /** Open encrypted images without their secrets, too: nobody is going to read them. */
  readonly keyless?: boolean | undefined
  /** Open to check: damage that a check can repair does not fail the open. Holds for the top node only. */
  readonly check?: boolean | undefined
  /** Open without the backing file. */
  readonly withoutBacking?: boolean | undefined
  /**
   * Called for each backing file, data file or extent that an image names and that cannot be opened: a driver without
   * options takes its place, undefined fails the open. `check` holds for these files, too, then.
   */
  readonly standIn?: ((filename: string, error: BlockError) => DriverDescriptor | undefined) | undefined
}

const anything = rule('', () => true)
const settingNames = {
  drivers: anything,
  resolveDriver: anything,
  references: anything,
  maxDepth: anything,
  secrets: anything,
  random: anything,
  onWarning: anything,
  clock: anything,
} satisfies Record<keyof GraphSettings, Rule>

/** Throws EINVAL for settings that a program without types may give. */
export function checkGraphSettings(settings: GraphSettings): void {
  const { drivers, references = 'neighbours', maxDepth = 1, clock } = settings ?? {}
  if (typeof drivers !== 'object' || typeof drivers?.[Symbol.iterator] !== 'function') {
    throw new BlockError('EINVAL', `new Graph({ drivers: [...] }) needs a list of drivers, not ${kindOf(drivers)}`, {
      hint: 'put the descriptors into a list: new Graph({ drivers: [file, qcow2] })',
    })
  }
  for (const name of ['onWarning', 'random', 'resolveDriver'] as const) {
    if (settings[name] !== undefined) mustBeFunction(name, settings[name])
  }
  if (clock !== undefined) mustBeFunction('clock.now', clock?.now)
  if (typeof references !== 'function' && !['neighbours', 'allow', 'deny'].includes(references)) {
    throw new BlockError(
      'EINVAL',
      `references are 'neighbours', 'allow', 'deny' or a function, not '${String(references)}'`,
    )
  }
  if (!Number.isSafeInteger(maxDepth) || maxDepth < 0) {
    throw new BlockError('EINVAL', `maxDepth is a number of images, not ${String(maxDepth)}`)
  }
  checkSettings('new Graph', settingNames, settings)
}

/** Throws EINVAL for settings of an opening that are none. */
export function checkOpenSettings(settings: OpenSettings): void {
  if (!isRecord(settings)) throw new BlockError('EINVAL', `settings are an object, not ${kindOf(settings)}`)
  const { signal, standIn }: OpenSettings = settings
  if (standIn !== undefined) mustBeFunction('settings.standIn', standIn)
  if (signal !== undefined && typeof signal?.addEventListener !== 'function') {
    throw new BlockError('EINVAL', `settings.signal is an AbortSignal, not ${kindOf(signal)}`)
  }
}
