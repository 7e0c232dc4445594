/** VHDX images, the disks of Hyper-V. */
import {
  BlockError,
  type DriverDescriptor,
  defineDriver,
  type OpenContext,
  type OpenImage,
} from '@diskgraph/core/driver'
import { checkSettings, create } from './create.ts'
import { Headers } from './header.ts'
import { checkParent, VhdxImage } from './image.ts'
import { identifier, noGuid, unit } from './layout.ts'
import { ReplayedFile, readLog, replayInto } from './log.ts'
import { createOptions, options, type VhdxCreateOptions, type VhdxOptions } from './options.ts'
import { parseLocator } from './parent-locator.ts'
import { type Disk, readDisk } from './regions.ts'

export type { VhdxCreateOptions, VhdxOptions } from './options.ts'

async function open(context: OpenContext<VhdxOptions>): Promise<OpenImage> {
  const { children, inspect, random } = context
  const file = children.require('file')
  const head = new Uint8Array(identifier.length)
  await file.read(0, head)
  if (!hasIdentifier(head)) throw new BlockError('EINVAL', 'Image not in VHDX format')
  const headers = await Headers.read(file)
  const log = await readLog(file, headers.current)
  const replays = log !== undefined && !context.readOnly && !inspect
  if (replays) await replayInto(file, log)
  // What of the log has no meaning goes, too.
  if (!context.readOnly && !inspect && headers.current.logGuid !== noGuid) await headers.change({ logGuid: noGuid })
  const tables = log === undefined || replays ? file : new ReplayedFile(file, log)
  const { logOffset, logLength } = headers.current
  const taken = [
    { offset: 0, length: unit },
    { offset: logOffset, length: logLength },
  ]
  const disk = await readDisk(tables, taken)
  const parentName = await openParent(context, disk)
  return new VhdxImage({
    file,
    tables,
    headers,
    disk,
    end: Math.max(file.size, log?.end ?? 0),
    replayed: replays,
    readOnly: context.readOnly,
    random,
    parentName,
    backing: () => children.get('backing'),
  })
}

/** Opens the image below a differencing one; returns its name. */
async function openParent(context: OpenContext<VhdxOptions>, { parent }: Disk): Promise<string | undefined> {
  if (parent === undefined) return undefined
  const { filename, contents } = parseLocator(parent)
  if (context.inspect) return filename
  const given = context.children.get('backing') !== undefined
  const child = await context.reference('backing', { filename, format: 'vhdx' })
  if (child !== undefined && !given) checkParent(child, (await child.info()).contentId, contents)
  return filename
}

function hasIdentifier(head: Uint8Array): boolean {
  return String.fromCharCode(...head.subarray(0, identifier.length)) === identifier
}

/** The driver `vhdx`. */
export const vhdx: DriverDescriptor = defineDriver<VhdxOptions, VhdxCreateOptions>()({
  name: 'vhdx',
  kind: 'format',
  description: 'VHDX images of Hyper-V: dynamic, fixed and differencing.',
  options,
  createOptions,
  probe: (head) => (hasIdentifier(head) ? 100 : 0),
  open,
  validateCreate: (all) => {
    checkSettings(all)
  },
  create,
})
