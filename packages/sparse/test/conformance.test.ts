import type { ChildHandle, DriverDescriptor } from '@diskgraph/core/driver'
import { conformance, mustShowExample } from '@diskgraph/driver-testkit'
import { type EntryTable, Place, readTable, SparseImage, type TableFormat, TableMap } from '@diskgraph/sparse'
import { describe, it } from 'vitest'

const clusterSize = 16384
const tableSize = 256

class Clusters implements TableFormat {
  readonly clusterSize = clusterSize
  readonly file: ChildHandle
  readonly table: EntryTable
  end: number

  constructor(file: ChildHandle, table: EntryTable) {
    this.file = file
    this.table = table
    this.end = Math.max(tableSize, tableSize + Math.ceil((file.size - tableSize) / clusterSize) * clusterSize)
  }

  placeOf(entry: number): number {
    return entry === 0 ? Place.unallocated : tableSize + (entry - 1) * clusterSize
  }

  entryOf(host: number): number {
    return (host - tableSize) / clusterSize + 1
  }

  take(clusters: number) {
    const host = this.end
    this.end += clusters * clusterSize
    return { host, clusters }
  }

  giveBack({ host, clusters }: { host: number; clusters: number }): void {
    if (host + clusters * clusterSize === this.end) this.end = host
  }
}

class TinyImage extends SparseImage {
  readonly clusters: Clusters

  constructor(clusters: Clusters, readOnly: boolean) {
    const { file, table } = clusters
    super({ file, clusterSize, size: () => table.entries * clusterSize, readOnly, map: new TableMap(clusters) })
    this.clusters = clusters
  }

  flush(): Promise<void> {
    const { table, file } = this.clusters
    return table.flush(file, async () => {})
  }

  close(): Promise<void> {
    return this.data.readOnly ? Promise.resolve() : this.flush()
  }
}

const tiny: DriverDescriptor = {
  name: 'tiny',
  kind: 'format',
  description: 'a table, and clusters behind it',
  options: { file: { type: 'child', role: 'storage', required: true, description: 'where the image stands' } },
  createOptions: {
    file: { type: 'child', role: 'storage', required: true, description: 'where to write' },
    size: { type: 'integer', required: true, description: 'virtual size: all sizes are 1 MiB' },
  },
  open: async ({ children, readOnly }) => {
    const file = children.require('file')
    const table = await readTable(file, 0, tableSize / 4, true)
    return new TinyImage(new Clusters(file, table), readOnly)
  },
  create: async ({ children }) => children.require('file').write(0, new Uint8Array(tableSize)),
}

it('is held to the example of the README', () => mustShowExample(import.meta.url))

await conformance({ test: { describe, it }, driver: tiny, size: (tableSize / 4) * clusterSize })
