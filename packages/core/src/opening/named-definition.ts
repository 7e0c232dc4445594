/**
 * What a file name stands for, with options given beside it. They nest as the name does: `align` beside
 * `blkdebug::t.qcow2` is said of the filter, `image.driver` of what it filters; a format that they name lies over what
 * the name stands for.
 */
import type { DriverDescriptor } from '../contract/descriptor.ts'
import { BlockError } from '../errors.ts'
import { isNode, type Node } from '../graph/node.ts'
import { imageStorage } from '../graph/node-filename.ts'
import { filteredOption } from '../options/child-options.ts'
import { parseJsonFilename, protocolOf, resolveLiteral } from '../options/filenames.ts'
import { isRecord } from '../options/validate.ts'
import type { Registry } from './registry.ts'

type Options = Readonly<Record<string, unknown>>

/** Options for a plain name, a name with a protocol, or a `json:` name. Without `driver` when it must be probed. */
export async function optionsFromFilename(registry: Registry, filename: string): Promise<Record<string, unknown>> {
  if (filename.startsWith('json:')) return parseJsonFilename(filename)
  const protocol = protocolOf(filename)
  if (protocol === undefined) return { driver: await registry.forPath(filename), filename }
  const driver = await registry.forPrefix(protocol)
  if (driver?.parseFilename !== undefined) return { driver: driver.name, ...driver.parseFilename(filename) }
  if (protocol === 'file') return { driver: 'file', filename: filename.slice('file:'.length) }
  throw new BlockError('EINVAL', `Unknown protocol '${protocol}'`)
}

/** The definition that `filename` and `options` make together. EINVAL where they say two things of one option. */
export async function namedDefinition(registry: Registry, filename: string, options: Options): Promise<Options> {
  const driver = options.driver === undefined ? undefined : await registry.of(options.driver)
  if (driver === undefined) return join(registry, await optionsFromFilename(registry, filename), options)
  if (takesNames(driver)) return join(registry, { driver: driver.name, ...ownOptions(driver, filename) }, options)
  if (driver.options.file?.type !== 'child') return options
  return { ...options, file: await childDefinition(registry, 'file', filename, options.file) }
}

/** Whether a file name says what the driver itself is to open, and not what lies below it. */
function takesNames(driver: DriverDescriptor): boolean {
  return driver.kind === 'protocol' || driver.parseFilename !== undefined
}

/** What `filename` means to `driver`; a filter takes a name without its prefix for that of what it filters. */
function ownOptions(driver: DriverDescriptor, filename: string): Options {
  const isOwn = driver.kind === 'protocol' || (driver.prefixes ?? []).includes(protocolOf(filename) ?? '')
  if (!isOwn) return { [filteredOption(driver)]: { filename } }
  return driver.parseFilename?.(filename) ?? { filename }
}

/** `own`, which a name stands for, and `given` beside the name. */
async function join(registry: Registry, own: Options, given: Options): Promise<Options> {
  const result: Record<string, unknown> = { ...own, ...given }
  for (const [name, value] of Object.entries(given)) {
    if (!(name in own) || name === 'driver') continue
    const mine = own[name]
    if (mine === value && name !== 'filename') continue
    if (!isRecord(mine) || typeof mine.filename !== 'string') {
      throw new BlockError('EINVAL', `Can't specify 'file' and '${name}' options at the same time`)
    }
    result[name] = await childDefinition(registry, name, mine.filename, value)
  }
  return result
}

/** As {@link namedDefinition}, for the child `name`, of which `given` is said. */
export function childDefinition(registry: Registry, name: string, filename: string, given: unknown): Promise<Options> {
  if (given === undefined || (isRecord(given) && !isNode(given))) {
    return namedDefinition(registry, filename, given ?? {})
  }
  throw new BlockError('EINVAL', `Parameter '${name}' says what '${filename}' says: give one of the two`)
}

/**
 * The definition of a file whose name, which stands in the image of `node`, is literal. It is opened by the image's own
 * protocol: the extents of an image on a server lie on that server. EINVAL where the image has no place.
 */
export async function literalDefinition(registry: Registry, node: Node, filename: string): Promise<Options> {
  const storage = imageStorage(node)
  const image = storage.filename
  if (image.startsWith('json:') && !filename.startsWith('/')) {
    throw new BlockError(
      'EINVAL',
      `Cannot use relative paths with ${node.driver.name.toUpperCase()} descriptor file '${image}': ` +
        `Cannot generate a base directory for ${storage.driver.name} nodes`,
    )
  }
  const name = resolveLiteral(image, filename)
  if (protocolOf(image) !== undefined) return optionsFromFilename(registry, name)
  return { driver: storage.driver.name, filename: name }
}

/** The message for an option that a driver does not have, with QEMU's words. */
export function unsupportedOption(driver: DriverDescriptor, option: string): string {
  if (option === 'backing') return "Driver doesn't support backing files"
  return takesNames(driver)
    ? `Block protocol '${driver.name}' doesn't support the option '${option}'`
    : `Block format '${driver.name}' does not support the option '${option}'`
}
