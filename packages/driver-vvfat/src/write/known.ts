/** The files and directories of the host that the disk shows, with the names and places that they have on both sides. */
import type { Run } from '../disk/fat.ts'
import { type Geometry, offsetOf, sectorSize } from '../disk/geometry.ts'
import type { HostFile } from '../host/tree.ts'
import type { Span } from '../span-map.ts'
import type { PlacedDirectory } from '../volume.ts'

abstract class Node {
  parent: KnownDirectory | undefined
  hostName: string
  guestName: string
  /** 0: it has none. */
  cluster: number

  constructor(parent: KnownDirectory | undefined, hostName: string, guestName: string, cluster: number) {
    this.parent = parent
    this.hostName = hostName
    this.guestName = guestName
    this.cluster = cluster
  }

  /** The way from the directory that is shown; it changes when this, or one above, is renamed. */
  get path(): readonly string[] {
    return this.parent === undefined ? [] : [...this.parent.path, this.hostName]
  }
}

export class KnownDirectory extends Node {
  readonly kind = 'directory'
  readonly children = new Set<Known>()
}

/** Which file of the host it is, and since when it has its content. */
export interface Identity {
  readonly device: bigint
  readonly inode: bigint
  readonly changed: bigint
}

export class KnownFile extends Node implements HostFile {
  readonly kind = 'file'
  device = 0n
  inode = 0n
  changed = 0n
  size = 0
  runs: readonly Run[] = []

  /** Its content is that of a file of the host now, and stands in these clusters. */
  hold(identity: Identity, size: number, runs: readonly Run[]): void {
    const { device, inode, changed } = identity
    Object.assign(this, { device, inode, changed, size, runs })
  }
}

export type Known = KnownFile | KnownDirectory

/** What the disk shows at first. */
export function knownRoot(placed: PlacedDirectory, clusterBytes: number): KnownDirectory {
  const root = new KnownDirectory(undefined, '', '', placed.cluster)
  addChildren(root, placed, clusterBytes)
  return root
}

function addChildren(directory: KnownDirectory, placed: PlacedDirectory, clusterBytes: number): void {
  for (const { entry, name, cluster, below } of placed.children) {
    if (below !== undefined) {
      const child = new KnownDirectory(directory, entry.name, name.long, cluster)
      directory.children.add(child)
      addChildren(child, below, clusterBytes)
    } else if (entry.kind === 'file') {
      const child = new KnownFile(directory, entry.name, name.long, cluster)
      const count = Math.ceil(entry.file.size / clusterBytes)
      child.hold(entry.file, entry.file.size, count === 0 ? [] : [{ first: cluster, count }])
      directory.children.add(child)
    }
  }
}

/** All that is below a directory. */
export function* knownBelow(directory: KnownDirectory): Generator<Known> {
  for (const child of directory.children) {
    yield child
    if (child.kind === 'directory') yield* knownBelow(child)
  }
}

/** Where the content of a file stands on the disk, as far as `counts` says so of its clusters. */
export function spansOf(file: KnownFile, geometry: Geometry, counts: (cluster: number) => boolean): Span[] {
  const clusterBytes = geometry.clusterSectors * sectorSize
  const spans: { offset: number; length: number; source: { file: HostFile; start: number } }[] = []
  let start = 0
  for (const { first, count } of file.runs) {
    for (let cluster = first; cluster < first + count; cluster++) {
      const length = Math.min(clusterBytes, file.size - start)
      const offset = offsetOf(geometry, cluster)
      const last = spans.at(-1)
      if (counts(cluster) && length > 0) {
        if (last !== undefined && last.offset + last.length === offset) last.length += length
        else spans.push({ offset, length, source: { file, start } })
      }
      start += clusterBytes
    }
  }
  return spans
}
