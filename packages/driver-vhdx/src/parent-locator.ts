/** How a differencing image names the image below: a table of keys and values, in UTF-16. */
import { BlockError } from '@diskgraph/core/driver'
import { Guid, guidAt, putGuid } from './layout.ts'

/** The image below. */
interface ParentName {
  readonly filename: string
  /** What its content was called when the image was made: GUIDs. */
  readonly contents: readonly string[]
}

const mostEntries = 64

/** Reads a locator. EINVAL, ENOTSUP. */
export function parseLocator(bytes: Uint8Array): ParentName {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length < 20) throw damaged()
  if (guidAt(bytes, 0) !== Guid.vhdxParent) {
    throw new BlockError('ENOTSUP', `the image below is named in a way that is not known, ${guidAt(bytes, 0)}`)
  }
  const count = view.getUint16(18, true)
  if (count > mostEntries || 20 + count * 12 > bytes.length) throw damaged()
  const values = new Map<string, string>()
  for (let i = 0; i < count; i++) {
    const at = 20 + i * 12
    const text = (offset: number, length: number): string => {
      if (offset + length > bytes.length) throw damaged()
      return new TextDecoder('utf-16le').decode(bytes.subarray(offset, offset + length))
    }
    const key = text(view.getUint32(at, true), view.getUint16(at + 8, true))
    values.set(key, text(view.getUint32(at + 4, true), view.getUint16(at + 10, true)))
  }
  const path = values.get('relative_path') ?? values.get('absolute_win32_path') ?? values.get('volume_path')
  if (path === undefined || path === '' || path.includes('\0')) throw damaged()
  const contents = ['parent_linkage', 'parent_linkage2']
    .flatMap((key) => values.get(key) ?? [])
    .map((guid) => guid.replace(/[{}]/g, '').toLowerCase())
  return { filename: path.replaceAll('\\', '/').replace(/^(\.\/)+/, ''), contents }
}

/** A locator of the image `filename`, whose content is called `contentId`. EINVAL for a name that is too long. */
export function newLocator(filename: string, contentId: string): Uint8Array {
  const path = filename.replaceAll('/', '\\')
  const isAbsolute = path.startsWith('\\')
  const texts = ['parent_linkage', `{${contentId}}`, isAbsolute ? 'absolute_win32_path' : 'relative_path', path]
  const start = 20 + 2 * 12
  const bytes = new Uint8Array(start + texts.reduce((sum, text) => sum + 2 * text.length, 0))
  const view = new DataView(bytes.buffer)
  if (2 * path.length > 0xffff) throw new BlockError('EINVAL', 'the name of the image below is too long')
  putGuid(bytes, 0, Guid.vhdxParent)
  view.setUint16(18, 2, true)
  let at = start
  for (const [i, text] of texts.entries()) {
    const entry = 20 + Math.floor(i / 2) * 12
    view.setUint32(entry + (i % 2) * 4, at, true)
    view.setUint16(entry + 8 + (i % 2) * 2, 2 * text.length, true)
    for (let j = 0; j < text.length; j++, at += 2) view.setUint16(at, text.charCodeAt(j), true)
  }
  return bytes
}

function damaged(): BlockError {
  return new BlockError('EINVAL', 'the name of the image below is damaged')
}
