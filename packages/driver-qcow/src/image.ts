/**
 * An open QCOW image. Data reaches the file before the tables that point to it, and tables before the root (TwoLevelTables
 * of @diskgraph/sparse), so that a crash leaves clusters without use at worst.
 */
import { type ChildHandle, type DriverInfo, Flag } from '@diskgraph/core/driver'
import { SparseImage, TwoLevelMap } from '@diskgraph/sparse'
import { Clusters } from './clusters.ts'
import { CompressedClusters } from './compressed.ts'
import type { Header } from './header.ts'

/** What an image is made from. */
interface QcowParts {
  readonly file: ChildHandle
  readonly header: Header
  /** The name in the image. */
  readonly backingName: string | undefined
  readonly readOnly: boolean
  /** Asked for at every use: edges of the graph come and go. */
  backing(): ChildHandle | undefined
}

/** See the top of this file. */
export class QcowImage extends SparseImage {
  override readonly writeFlags = Flag.Unchanged | Flag.Compressed
  readonly #clusters: Clusters
  readonly #map: TwoLevelMap
  readonly #compressed: CompressedClusters
  readonly #backingName: string | undefined

  constructor({ file, header, backingName, readOnly, backing }: QcowParts) {
    const clusters = new Clusters(file, header, () => backing() === undefined && backingName === undefined)
    const map = new TwoLevelMap(clusters)
    const compressed = new CompressedClusters(clusters, map)
    super({
      file,
      clusterSize: clusters.clusterSize,
      size: () => header.size,
      readOnly,
      map,
      backing,
      namesBacking: () => backingName !== undefined,
      compressed,
    })
    this.#clusters = clusters
    this.#map = map
    this.#compressed = compressed
    this.#backingName = backingName
  }

  override write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    if ((flags & Flag.Compressed) === 0) return super.write(offset, buf, flags, signal)
    const plain = (at: number, data: Uint8Array): Promise<void> => super.write(at, data, 0, signal)
    return this.#compressed.write(offset, buf, this.size, plain, signal)
  }

  flush(): Promise<void> {
    return this.#map.flush()
  }

  async close(): Promise<void> {
    if (!this.data.readOnly) await this.flush()
  }

  info(): Promise<DriverInfo> {
    const { clusterSize } = this.#clusters
    const name = this.#backingName
    return Promise.resolve({ clusterSize, ...(name === undefined ? {} : { backingFilename: name }) })
  }
}
