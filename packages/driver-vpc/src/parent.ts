/**
 * The image below a differencing one: the dynamic header names it by its UUID, by the name of its file, and by up to eight
 * locators, whose text stands somewhere else in the file.
 */
import { alignUp, BlockError, type ChildHandle } from '@diskgraph/core/driver'
import { Header, Locator, locatorPlatform, sectorSize } from './layout.ts'
import { putHeaderChecksum, uuidText } from './structures.ts'

/** See the top of this file. */
export interface ParentName {
  readonly filename: string
  readonly uuid: string
}

const longestName = 4096

/** Reads what the header says of the image below. EINVAL where it names none. */
export async function readParent(file: ChildHandle, header: Uint8Array): Promise<ParentName> {
  const names = new Map<string, string>()
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength)
  for (let i = 0; i < Locator.most; i++) {
    const at = Header.locators + i * Locator.size
    const platform = String.fromCharCode(...header.subarray(at, at + 4))
    const length = view.getUint32(at + Locator.length)
    const offset = Number(view.getBigUint64(at + Locator.offset))
    const isName = platform === locatorPlatform.relative || platform === locatorPlatform.absolute
    if (!isName || length === 0) continue
    if (length > longestName || offset + length > file.size) throw damaged()
    const bytes = new Uint8Array(length)
    await file.read(offset, bytes)
    names.set(platform, new TextDecoder('utf-16le').decode(bytes))
  }
  const plain = new TextDecoder('utf-16be').decode(header.subarray(Header.parentName, Header.parentName + 512))
  const end = plain.indexOf('\0')
  const name = end < 0 ? plain : plain.slice(0, end)
  const found = [names.get(locatorPlatform.relative), name, names.get(locatorPlatform.absolute)]
  const filename = found.find((one) => one !== undefined && one !== '')
  if (filename === undefined || filename.includes('\0')) throw damaged()
  return {
    filename: filename.replaceAll('\\', '/').replace(/^(\.\/)+/, ''),
    uuid: uuidText(header.subarray(Header.parentUuid, Header.parentUuid + 16)),
  }
}

function damaged(): BlockError {
  return new BlockError('EINVAL', 'the name of the image below is damaged')
}

/** Throws EINVAL when `child` is not the image below that is meant. */
export function checkParent(child: ChildHandle, contentId: string | undefined, { uuid }: ParentName): void {
  if (contentId === uuid) return
  throw new BlockError('EINVAL', `'${child.filename}' is not the image that this one was made on`, {
    hint: 'its UUID is another one: what the image shows of it would be wrong',
  })
}

/** The text of the locator for the image below, in whole sectors. EINVAL for a name that is too long. */
export function locatorText(filename: string): Uint8Array {
  if (2 * filename.length > longestName) throw new BlockError('EINVAL', 'the name of the image below is too long')
  const text = new Uint8Array(alignUp(2 * filename.length, sectorSize))
  const view = new DataView(text.buffer)
  const path = filename.replaceAll('/', '\\')
  for (let i = 0; i < path.length; i++) view.setUint16(2 * i, path.charCodeAt(i), true)
  return text
}

/** Names the image below in a new header, whose checksum is made right; {@link locatorText} stands at `offset`. */
export function putParent(header: Uint8Array, { filename, uuid }: ParentName, offset: number): void {
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength)
  const name = filename.slice(filename.lastIndexOf('/') + 1)
  for (let i = 0; i < Math.min(255, name.length); i++) view.setUint16(Header.parentName + 2 * i, name.charCodeAt(i))
  const digits = uuid.replaceAll('-', '')
  for (let i = 0; i < 16; i++) header[Header.parentUuid + i] = Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16)
  const platform = filename.startsWith('/') ? locatorPlatform.absolute : locatorPlatform.relative
  for (let i = 0; i < 4; i++) header[Header.locators + i] = platform.charCodeAt(i)
  view.setUint32(Header.locators + Locator.space, alignUp(2 * filename.length, sectorSize))
  view.setUint32(Header.locators + Locator.length, 2 * filename.length)
  view.setBigUint64(Header.locators + Locator.offset, BigInt(offset))
  putHeaderChecksum(header)
}
