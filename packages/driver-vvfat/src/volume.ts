/**
 * The layout of a tree on a disk: which bytes of the disk come from where. Directories are made when the disk is opened,
 * the FATs when they are read, the content of files is read from the host. So memory grows with the number of files.
 */
import { BlockError, divUp } from '@diskgraph/core/driver'
import { headerOf } from './disk/boot-sector.ts'
import { Attribute, entriesOf, writeEntry, writeShort } from './disk/entries.ts'
import { GeneratedFat, type Run } from './disk/fat.ts'
import {
  entrySize,
  type FatType,
  firstCluster,
  type Geometry,
  geometryFor,
  mostEntries,
  offsetOf,
  placesOf,
  sectorSize,
} from './disk/geometry.ts'
import { type FatName, NameTable } from './disk/names.ts'
import type { Times, TreeDirectory, TreeEntry } from './host/tree.ts'
import type { Span } from './span-map.ts'

/** What is shown, and how. */
interface VolumeSettings {
  readonly fatType: FatType | 0
  readonly floppy: boolean
  /** 11 bytes. */
  readonly label: Uint8Array
}

/** A tree laid out. */
export interface Volume {
  readonly geometry: Geometry
  /** All but the content of files. */
  readonly metadata: readonly Span[]
  readonly content: readonly Span[]
  readonly root: PlacedDirectory
  readonly boot: Uint8Array
}

/** A directory with the names and places that its entries have on the disk. */
export interface PlacedDirectory {
  readonly directory: TreeDirectory
  readonly children: readonly PlacedEntry[]
  /** 0: the root directory of FAT12 and FAT16. */
  cluster: number
}

interface PlacedEntry {
  readonly entry: TreeEntry
  readonly name: FatName
  /** Of a directory. */
  readonly below: PlacedDirectory | undefined
  /** 0: it has no content. */
  cluster: number
}

/** Lays a tree out. ENOSPC when it does not fit. */
export function layOut(tree: TreeDirectory, settings: VolumeSettings): Volume {
  const root = named(tree)
  const geometry = geometryFor(settings.fatType, settings.floppy, contentOf(root))
  const { runs, tables, content, next } = place(root, geometry, settings.label)
  const free = { clusters: geometry.clusters - (next - firstCluster), next }
  const fat = new GeneratedFat(geometry.fatType, geometry.media, runs)
  const places = placesOf(geometry)
  const header = headerOf(geometry, settings.label, free)
  const fatBytes = geometry.fatSectors * sectorSize
  const metadata: Span[] = [
    { offset: 0, length: header.length, source: header },
    { offset: places.fat, length: fatBytes, source: fat },
    { offset: places.fat + fatBytes, length: fatBytes, source: fat },
  ]
  return {
    geometry,
    metadata: [...metadata, ...tables],
    content,
    root,
    boot: header.subarray(places.boot, places.boot + sectorSize),
  }
}

function named(directory: TreeDirectory): PlacedDirectory {
  const names = new NameTable()
  const children = directory.entries.map((entry) => ({
    entry,
    name: names.add(entry.name),
    below: entry.kind === 'directory' ? named(entry) : undefined,
    cluster: 0,
  }))
  return { directory, children, cluster: 0 }
}

function* directoriesOf(root: PlacedDirectory): Generator<PlacedDirectory> {
  yield root
  for (const { below } of root.children) if (below !== undefined) yield* directoriesOf(below)
}

/** Entries of a directory: the label in the root, or the two of every other one, and those of its children. */
function entryCount(directory: PlacedDirectory, isRoot: boolean): number {
  const own = directory.children.reduce((sum, { name }) => sum + entriesOf(name), isRoot ? 1 : 2)
  if (own <= mostEntries) return own
  const name = directory.directory.name
  throw new BlockError('ENOSPC', `Too many entries in directory '${name}': ${own}, and FAT has ${mostEntries} at most`)
}

function contentOf(root: PlacedDirectory): {
  rootEntries: number
  clusters(bytes: number, rootIsChain: boolean): number
} {
  const rootEntries = entryCount(root, true)
  const sizes: number[] = []
  for (const directory of directoriesOf(root)) {
    if (directory !== root) sizes.push(entryCount(directory, false) * entrySize)
    for (const { entry } of directory.children) if (entry.kind === 'file') sizes.push(entry.file.size)
  }
  return {
    rootEntries,
    clusters: (bytes, rootIsChain) =>
      sizes.reduce((sum, size) => sum + divUp(size, bytes), rootIsChain ? divUp(rootEntries * entrySize, bytes) : 0),
  }
}

/** Gives everything its clusters, first the directories' own, then those of their files. */
function place(
  root: PlacedDirectory,
  geometry: Geometry,
  label: Uint8Array,
): { runs: Run[]; tables: Span[]; content: Span[]; next: number } {
  const { root: rootOffset } = placesOf(geometry)
  const clusterBytes = geometry.clusterSectors * sectorSize
  const runs: Run[] = []
  const [spans, content]: [Span[], Span[]] = [[], []]
  let next = firstCluster
  const take = (bytes: number): number => {
    if (bytes === 0) return 0
    const first = next
    const count = divUp(bytes, clusterBytes)
    runs.push({ first, count })
    next += count
    return first
  }
  const directories = [...directoriesOf(root)]
  const tables = new Map<PlacedDirectory, Uint8Array>()
  for (const directory of directories) {
    const table = new Uint8Array(entryCount(directory, directory === root) * entrySize)
    tables.set(directory, table)
    const isFixed = directory === root && geometry.rootEntries > 0
    if (!isFixed) directory.cluster = take(table.length)
    spans.push({
      offset: isFixed ? rootOffset : offsetOf(geometry, directory.cluster),
      length: table.length,
      source: table,
    })
  }
  for (const directory of directories) {
    for (const child of directory.children) {
      const { entry, below } = child
      child.cluster = entry.kind === 'file' ? take(entry.file.size) : (below as PlacedDirectory).cluster
      if (entry.kind === 'directory' || entry.file.size === 0) continue
      const source = { file: entry.file, start: 0 }
      content.push({ offset: offsetOf(geometry, child.cluster), length: entry.file.size, source })
    }
  }
  for (const [directory, table] of tables) {
    fill(table, directory, directory === root ? label : undefined)
    // Entries name the directory above by no cluster when that is the root.
    for (const { below } of directory.children) {
      if (below !== undefined) fillDots(tables.get(below) as Uint8Array, below, directory === root ? 0 : directory)
    }
  }
  return { runs, tables: spans, content, next }
}

const noTimes: Times = { created: 0, accessed: 0, modified: 0 }

function fill(table: Uint8Array, { children }: PlacedDirectory, label: Uint8Array | undefined): void {
  let at = label === undefined ? 2 * entrySize : entrySize
  if (label !== undefined) {
    const attributes = Attribute.Volume | Attribute.Archive
    writeShort(table.subarray(0, entrySize), label, { attributes, cluster: 0, size: 0, ...noTimes })
  }
  for (const { entry, name, cluster } of children) {
    const isFile = entry.kind === 'file'
    const attributes = isFile ? Attribute.Archive : Attribute.Directory
    at = writeEntry(table, at, name, { attributes, cluster, size: isFile ? entry.file.size : 0, ...entry.times })
  }
}

function fillDots(table: Uint8Array, directory: PlacedDirectory, parent: PlacedDirectory | 0): void {
  const common = { attributes: Attribute.Directory, size: 0, ...directory.directory.times }
  const dots = (count: number): Uint8Array => new TextEncoder().encode('.'.repeat(count).padEnd(11))
  writeShort(table.subarray(0, entrySize), dots(1), { ...common, cluster: directory.cluster })
  const above = parent === 0 ? 0 : parent.cluster
  writeShort(table.subarray(entrySize, 2 * entrySize), dots(2), { ...common, cluster: above })
}
