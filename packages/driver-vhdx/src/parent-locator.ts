/** How a differencing image names the image below: a table of keys and values, in UTF-16. */
import { BlockError } from '@diskgraph/core/driver'
import { Guid, guidAt } from './layout.ts'

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

function damaged(): BlockError {
  return new BlockError('EINVAL', 'the name of the image below is damaged')
}
