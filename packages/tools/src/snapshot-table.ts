/** The table of internal snapshots that `info` and `snapshot -l` print. */
import type { SnapshotInfo } from '@diskgraph/core'
import { visibleLine } from './messages.ts'
import { humanSize } from './sizes.ts'

const head = ['ID', 'TAG', 'VM SIZE', 'DATE', 'VM CLOCK', 'ICOUNT'] as const

/** So many snapshots are put into one piece of text. */
const batch = 64

/** Lines with a newline each, in pieces, as there may be very many; nothing for an image without snapshots. */
export function* snapshotTable(snapshots: readonly SnapshotInfo[]): Generator<string> {
  if (snapshots.length === 0) return
  yield `Snapshot list:\n${line(head)}`
  for (let at = 0; at < snapshots.length; at += batch) {
    yield snapshots
      .slice(at, at + batch)
      .map((snapshot) => line(cells(snapshot)))
      .join('')
  }
}

function cells(snapshot: SnapshotInfo): readonly string[] {
  return [
    visibleLine(snapshot.id),
    visibleLine(snapshot.name),
    humanSize(snapshot.vmStateSize),
    localTime(snapshot.dateSeconds),
    clock(snapshot.vmClockNanoseconds),
    snapshot.icount === undefined ? '' : String(snapshot.icount),
  ]
}

function line([id = '', tag = '', size = '', date = '', vmClock = '', icount = '']: readonly string[]): string {
  const left = `${id.padEnd(9)} ${tag.padEnd(16)}`
  return `${left} ${size.padStart(8)} ${date.padStart(19)} ${vmClock.padStart(12)} ${icount.padStart(10)}\n`
}

function localTime(seconds: number): string {
  const date = new Date(seconds * 1000)
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('-')
  return `${day} ${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':')}`
}

/** Hours, minutes, seconds and milliseconds. */
function clock(nanoseconds: number): string {
  const milliseconds = Math.floor(nanoseconds / 1e6)
  const seconds = Math.floor(milliseconds / 1000)
  const time = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60].map(two).join(':')
  return `${time}.${String(milliseconds % 1000).padStart(3, '0')}`
}

function two(value: number): string {
  return String(value).padStart(2, '0')
}
