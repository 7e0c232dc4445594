/** `info block`: devices and nodes as text. */
import type { Node } from '@diskgraph/core'
import { imageInfo, type TypeOf } from '@diskgraph/qapi'
import { infoText } from '@diskgraph/tools'

type Info = TypeOf<'BlockInfo'>
type Inserted = TypeOf<'BlockDeviceInfo'>

/** Lines about a device, or about a node where `info` is undefined. */
export function blockText(info: Info | undefined, inserted: Inserted | undefined): string {
  const lines = [headLine(info, inserted)]
  if (info?.qdev !== undefined) lines.push(`    Attached to:      ${info.qdev}`)
  const status = info?.['io-status']
  if (status !== undefined && status !== 'ok') lines.push(`    I/O status:       ${status}`)
  if (info?.removable) {
    const tray = info.tray_open ? 'open' : 'closed'
    lines.push(`    Removable device: ${info.locked ? '' : 'not '}locked, tray ${tray}`)
  }
  if (inserted !== undefined) lines.push(...mediumLines(inserted))
  return lines.map((line) => `${line}\n`).join('')
}

function headLine(info: Info | undefined, inserted: Inserted | undefined): string {
  const node = inserted?.['node-name']
  const device = info?.device ?? ''
  const named = device === '' ? (node ?? info?.qdev ?? '<anonymous>') : device
  const name = device !== '' && node !== undefined ? `${named} (${node})` : named
  if (inserted === undefined) return `${name}: [not inserted]`
  const { file, drv, ro, encrypted } = inserted
  return `${name}: ${file} (${drv}${ro ? ', read-only' : ''}${encrypted ? ', encrypted' : ''})`
}

function* mediumLines(inserted: Inserted): Generator<string> {
  const { cache, backing_file: backing, detect_zeroes: zeroes } = inserted
  const more = `${cache.direct ? ', direct' : ''}${cache['no-flush'] ? ', ignore flushes' : ''}`
  yield `    Cache mode:       ${cache.writeback ? 'writeback' : 'writethrough'}${more}`
  if (backing !== undefined) yield `    Backing file:     ${backing} (chain depth: ${inserted.backing_file_depth})`
  if (zeroes !== 'off') yield `    Detect zeroes:    ${zeroes}`
  if (limitNames.some((name) => (inserted[name] ?? 0) > 0)) {
    const limits = [...limitNames, 'iops_size' as const].map((name) => `${name}=${inserted[name] ?? 0}`)
    yield `    I/O throttling:   ${limits.join(' ')} group=${inserted.group ?? ''}`
  }
}

const limitNames = ['bps', 'iops'].flatMap((unit) =>
  ['', '_max'].flatMap((end) => ['', '_rd', '_wr'].map((kind) => `${unit}${kind}${end}`)),
) as ('bps' | 'bps_rd')[]

/** The images of a node and of its backing files, as `info` of the tools tells of them. */
export async function imagesText(node: Node): Promise<string> {
  let text = '\nImages:\n'
  for (let at: Node | undefined = node; at !== undefined; at = at.backing?.node) {
    for (const piece of infoText(await imageInfo(at))) text += piece
  }
  return text
}
