import {
  BlockError,
  type DriverDescriptor,
  type OpenContext,
  type OpenImage,
  Permission,
  validateOptions,
} from '@diskgraph/core/driver'
import { parseConfig } from './config.ts'
import { BlkdebugImage } from './image.ts'
import {
  type BlkdebugOptions,
  blkdebugSchemas,
  errorRule,
  injectErrorSchemas,
  limitsOf,
  type PermissionName,
  setStateSchemas,
  stateRule,
} from './options.ts'
import { Rules } from './rules.ts'

/** The text of a configuration file. */
type ReadConfigFile = (path: string) => Promise<string>

const permissionBits: Readonly<Record<PermissionName, number>> = {
  'consistent-read': Permission.ConsistentRead,
  write: Permission.Write,
  'write-unchanged': Permission.WriteUnchanged,
  resize: Permission.Resize,
}

/** The driver `blkdebug`, with the way to read configuration files that the platform has. */
export function blkdebugDriver(readConfigFile: ReadConfigFile): DriverDescriptor {
  return {
    name: 'blkdebug',
    kind: 'filter',
    description: 'Fails chosen requests, follows states, stops requests at breakpoints.',
    options: blkdebugSchemas,
    prefixes: ['blkdebug'],
    parseFilename,
    formatFilename,
    open: (context) => openBlkdebug(context, readConfigFile),
    childPermissions({ options }, permissions, shared) {
      const { takeChildPerms, unshareChildPerms } = options as Omit<BlkdebugOptions, 'image'>
      return { permissions: permissions | bitsOf(takeChildPerms), shared: shared & ~bitsOf(unshareChildPerms) }
    },
  }
}

function bitsOf(names: readonly PermissionName[] = []): number {
  return names.reduce((bits, name) => bits | permissionBits[name], 0)
}

/** `blkdebug:config:image`; the name of the configuration file may be empty, that of the image may contain colons. */
function parseFilename(filename: string): Record<string, unknown> {
  const rest = filename.slice('blkdebug:'.length)
  const colon = rest.indexOf(':')
  if (colon < 0) throw new BlockError('EINVAL', 'blkdebug requires both config file and image path')
  const config = rest.slice(0, colon)
  return { ...(config === '' ? {} : { config }), image: { filename: rest.slice(colon + 1) } }
}

function formatFilename(
  options: Readonly<Record<string, unknown>>,
  children: Readonly<Record<string, string>>,
): string | undefined {
  const { config = '', ...others } = options
  const { image } = children
  const plain = Object.keys(others).every((name) => blkdebugSchemas[name]?.strong !== true)
  if (!plain || image === undefined || image.startsWith('json:') || String(config).includes(':')) return undefined
  return `blkdebug:${config}:${image}`
}

async function openBlkdebug(context: OpenContext, readConfigFile: ReadConfigFile): Promise<OpenImage> {
  const options = context.options as Omit<BlkdebugOptions, 'image'>
  const config = options.config === undefined ? undefined : parseConfig(await readConfigFile(options.config))
  const errors = [
    ...(config?.injectError.map((section) => validateOptions(injectErrorSchemas, section)) ?? []),
    ...((context.options.injectError ?? []) as Readonly<Record<string, unknown>>[]),
  ]
  const states = [
    ...(config?.setState.map((section) => validateOptions(setStateSchemas, section)) ?? []),
    ...((context.options.setState ?? []) as Readonly<Record<string, unknown>>[]),
  ]
  const file = context.children.require('image')
  const rules = new Rules(errors.map(errorRule), states.map(stateRule))
  const limits = limitsOf(options, file.limits)
  return new BlkdebugImage(file, { limits, discardUnit: options.optDiscard || 1 }, rules, context)
}
