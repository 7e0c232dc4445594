/** An image's facts as lines for people: what `info` prints. */
import { type ImageInfo, kebabKeys } from '@diskgraph/qapi'
import { inQemuOrder } from './json.ts'
import { visible, visibleLine } from './messages.ts'
import { humanSize } from './sizes.ts'
import { snapshotTable } from './snapshot-table.ts'

/** QEMU's text, in pieces of whole lines. */
export function* infoText(info: ImageInfo): Generator<string> {
  const lines = [
    `image: ${visibleLine(info.filename)}`,
    `file format: ${info.format}`,
    `virtual size: ${humanSize(info.virtualSize)} (${info.virtualSize} bytes)`,
    `disk size: ${info.actualSize === undefined ? 'unavailable' : humanSize(info.actualSize)}`,
  ]
  if (info.encrypted) lines.push('encrypted: yes')
  if (info.clusterSize !== undefined) lines.push(`cluster_size: ${info.clusterSize}`)
  if (info.dirty) lines.push('cleanly shut down: no')
  if (info.backingFilename !== undefined) lines.push(...backingLines(info, info.backingFilename))
  const specific = info.specific === undefined ? [] : ['Format specific information:', ...specificLines(info.specific)]
  yield `${lines.join('\n')}\n`
  yield* snapshotTable(info.snapshots)
  yield specific.map((text) => `${text}\n`).join('')
}

function backingLines(info: ImageInfo, backing: string): string[] {
  const { fullBackingFilename: full, backingFormat } = info
  const actual =
    full === undefined
      ? ' (cannot determine actual path)'
      : full === backing
        ? ''
        : ` (actual path: ${visibleLine(full)})`
  const format = backingFormat === undefined ? [] : [`backing file format: ${visibleLine(backingFormat)}`]
  return [`backing file: ${visibleLine(backing)}${actual}`, ...format]
}

/** The lines of the facts that only this format has, indented. */
export function specificLines(specific: NonNullable<ImageInfo['specific']>): string[] {
  return valueLines(kebabKeys(specific.data), 1)
}

/** Members as `name: value`, names with spaces for dashes; objects and lists indented below their name. */
function valueLines(value: unknown, depth: number): string[] {
  const indent = '    '.repeat(depth)
  const named = Array.isArray(value)
    ? value.map((item, i) => [`[${i}]`, item] as const)
    : inQemuOrder(Object.entries(value as Record<string, unknown>)).map(
        ([key, member]) => [key.replaceAll('-', ' '), member] as const,
      )
  return named.flatMap(([name, member]) => {
    if (member === undefined) return []
    if (typeof member === 'object' && member !== null) return [`${indent}${name}:`, ...valueLines(member, depth + 1)]
    return [`${indent}${name}: ${visible(String(member))}`]
  })
}
