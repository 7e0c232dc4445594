/**
 * The tables that stand in a property list: `resource-fork` → `blkx` → an array of dictionaries → `Data`. One walk over
 * its tags; whatever else stands there is passed over.
 */
import { BlockError } from '@diskgraph/core/driver'

/** Deeper nesting is no property list of an image. */
const deepest = 32

interface Element {
  readonly tag: string
  /** The last key in it: the name of what follows. */
  key: string
}

/** The tables of `bytes`, in their order. EINVAL for a text that is no property list. */
export function tablesOfPropertyList(bytes: Uint8Array): Uint8Array[] {
  const text = new TextDecoder().decode(bytes)
  const tables: Uint8Array[] = []
  const open: Element[] = []
  for (let at = 0; ; ) {
    const start = text.indexOf('<', at)
    if (start < 0) break
    const isComment = text.startsWith('<!--', start)
    const end = text.indexOf(isComment ? '-->' : '>', start)
    if (end < 0) throw damaged('ends within a tag')
    const content = text.slice(at, start)
    at = end + (isComment ? 3 : 1)
    const mark = text[start + 1]
    if (mark === '!' || mark === '?' || text[end - 1] === '/') continue
    if (mark !== '/') {
      if (open.length === deepest) throw damaged('is nested too deeply')
      open.push({ tag: tagAt(text, start + 1, end), key: '' })
      continue
    }
    const element = open.pop()
    if (element?.tag !== tagAt(text, start + 2, end)) throw damaged('closes what it did not open')
    const parent = open.at(-1)
    if (element.tag === 'key' && parent !== undefined) parent.key = content
    if (element.tag === 'data' && isTable(open)) tables.push(decoded(content))
  }
  return tables
}

/** The name of a tag, without its attributes. */
function tagAt(text: string, start: number, end: number): string {
  return text.slice(start, Math.min(end, start + 64)).split(/\s/, 1)[0] as string
}

function isTable(open: readonly Element[]): boolean {
  const path = open.map(({ tag, key }) => (tag === 'dict' ? key : tag)).join('/')
  return path === 'plist/resource-fork/blkx/array/Data'
}

function decoded(base64: string): Uint8Array {
  const text = base64.replace(/\s+/g, '')
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw damaged('has data that is no base64')
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0))
}

function damaged(what: string): BlockError {
  return new BlockError('EINVAL', `the property list of the image ${what}`)
}
