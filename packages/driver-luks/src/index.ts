/** Images that LUKS encrypts. */
import {
  alignUp,
  BlockError,
  type ChildHandle,
  type CreateContext,
  type DriverDescriptor,
  defineDriver,
  type MeasureRequest,
  maxOffset,
  type OpenContext,
  type OpenImage,
} from '@diskgraph/core/driver'
import {
  formatLuks,
  type HeaderStorage,
  hasLuksMagic,
  type LuksSettings,
  luksHeaderSize,
  openLuks,
  openLuks2,
  platform,
  readLuks1Facts,
  readLuks1Header,
  readLuks2Header,
} from '@diskgraph/crypto'
import { type Facts, factsOf, factsOf2, InspectedVolume, LuksImage } from './image.ts'
import { amendOptions, createOptions, type LuksCreateOptions, type LuksOptions, openOptions } from './options.ts'

export type { LuksCreateOptions, LuksOptions } from './options.ts'

/** The driver `luks`. */
export const luks: DriverDescriptor = defineDriver<LuksOptions, LuksCreateOptions>()({
  name: 'luks',
  kind: 'format',
  description: 'Volumes that LUKS encrypts',
  options: openOptions,
  createOptions,
  amendOptions,
  probe: (head) => (hasLuksMagic(head, 1) ? 100 : 0),
  open: openVolume,
  validateCreate: (options) => {
    sizeOf(options as unknown as LuksCreateOptions)
  },
  create: createVolume,
  measure: measureVolume,
})

async function openVolume(context: OpenContext<Omit<LuksOptions, 'file'>>): Promise<OpenImage> {
  const file = context.children.require('file')
  const storage = storageOf(file)
  const { keySecret } = context.options
  if (await isSecond(storage)) return openSecond(context, storage)
  if (context.keyless) {
    const facts = factsOf(await readLuks1Facts(storage))
    checkPayload(file, facts)
    return new InspectedVolume(file, facts)
  }
  const header = await readLuks1Header(storage)
  checkPayload(file, factsOf(header))
  const tools = { platform, clock: context.clock, storage, signal: context.signal }
  const volume = await openLuks(tools, header, passwordOf(context, keySecret))
  return new LuksImage({ file, tools, keySecret, secret: context.secret }, volume)
}

/** Whether the header is one of version 2. Where the first copy of one is lost the second stands in its place. */
async function isSecond(storage: HeaderStorage): Promise<boolean> {
  const head = new Uint8Array(8)
  await storage.read(0, head)
  if (hasLuksMagic(head, 2)) return true
  if (hasLuksMagic(head, 1)) return false
  return readLuks2Header(platform, storage).then(
    () => true,
    () => false,
  )
}

async function openSecond(context: OpenContext<Omit<LuksOptions, 'file'>>, storage: HeaderStorage): Promise<OpenImage> {
  const file = context.children.require('file')
  const header = await readLuks2Header(platform, storage)
  const facts = factsOf2(header)
  checkPayload(file, facts)
  if (context.keyless) return new InspectedVolume(file, facts)
  const { keySecret } = context.options
  const tools = { platform, clock: context.clock, storage, signal: context.signal }
  const cipher = await openLuks2(tools, header, passwordOf(context, keySecret))
  return new LuksImage({ file, tools, keySecret, secret: context.secret }, { header, cipher })
}

function checkPayload(file: ChildHandle, { payloadOffset }: Facts): void {
  if (payloadOffset <= alignUp(file.size, 512)) return
  throw new BlockError('EIO', 'Could not refresh total sector count: the file ends before the payload', {
    hint: 'the image was cut off, or its header is damaged',
  })
}

async function createVolume(context: CreateContext<Omit<LuksCreateOptions, 'file'>>): Promise<void> {
  const { options, signal } = context
  const file = context.children.require('file')
  const password = passwordOf(context, options.keySecret)
  const { size, payload } = sizeOf(options)
  const { preallocation = 'off' } = options
  await file.truncate(payload + size, { preallocation: preallocation === 'metadata' ? 'off' : preallocation }, signal)
  await formatLuks({ platform, clock: context.clock, storage: storageOf(file), signal }, options, password)
}

async function measureVolume({ options, size }: MeasureRequest) {
  if (options.keySecret === undefined) throw keyMissing()
  const bytes = alignUp(size, 512) + luksHeaderSize(options as LuksSettings)
  return { required: bytes, fullyAllocated: bytes }
}

/** Bytes of the disk, and of what stands in front of it. */
function sizeOf(options: Omit<LuksCreateOptions, 'file'>): { readonly size: number; readonly payload: number } {
  const payload = luksHeaderSize(options)
  if (options.size > maxOffset - payload - 512) throw new BlockError('EFBIG', 'The requested file size is too large')
  return { size: alignUp(options.size, 512), payload }
}

function passwordOf(context: { secret(id: string): Uint8Array }, keySecret: string | undefined): Uint8Array {
  if (keySecret === undefined) throw keyMissing()
  return context.secret(keySecret)
}

function keyMissing(): BlockError {
  return new BlockError('EINVAL', "Parameter 'key-secret' is required for cipher")
}

function storageOf(file: ChildHandle): HeaderStorage {
  return {
    read: (offset, buf) => file.read(offset, buf),
    write: (offset, data) => file.write(offset, data),
    flush: () => file.flush(),
  }
}
