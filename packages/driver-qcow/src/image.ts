/** An open QCOW image. Data reaches the file before the tables that point to it, so a crash leaves leaked clusters at worst. */
import type { ChildHandle, DriverInfo } from '@diskgraph/core/driver'
import { SparseImage, TwoLevelMap } from '@diskgraph/sparse'
import { Clusters } from './clusters.ts'
import { CompressedClusters, type Inflate } from './compressed-clusters.ts'
import type { Header } from './header.ts'

/** What an image is made from. */
interface QcowParts {
  readonly file: ChildHandle
  readonly header: Header
  /** The name in the header. */
  readonly backingName: string | undefined
  readonly readOnly: boolean
  readonly inflate: Inflate
  /** Asked for at every use: edges of the graph come and go. */
  backing(): ChildHandle | undefined
}

/** See the top of this file. */
export class QcowImage extends SparseImage {
  readonly #map: TwoLevelMap
  readonly #clusterSize: number
  readonly #backingName: string | undefined

  constructor({ file, header, backingName, readOnly, inflate, backing }: QcowParts) {
    const clusters = new Clusters(file, header, () => backing() === undefined && backingName === undefined)
    const map = new TwoLevelMap(clusters)
    clusters.fillWith((work) => map.whileNoneIsTaken(work))
    super({
      file,
      clusterSize: clusters.clusterSize,
      size: () => header.size,
      readOnly,
      map,
      backing,
      namesBacking: () => backingName !== undefined,
      compressed: new CompressedClusters(file, map, header, inflate),
    })
    this.#map = map
    this.#clusterSize = clusters.clusterSize
    this.#backingName = backingName
  }

  flush(): Promise<void> {
    return this.#map.flush()
  }

  async close(): Promise<void> {
    if (!this.data.readOnly) await this.flush()
  }

  info(): Promise<DriverInfo> {
    const name = this.#backingName
    return Promise.resolve({
      clusterSize: this.#clusterSize,
      dirty: false,
      ...(name === undefined ? {} : { backingFilename: name }),
    })
  }
}
