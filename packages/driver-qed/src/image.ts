/**
 * An open QED image. Data reaches the file before the tables that point to it, and tables before the root (TwoLevelTables
 * of @diskgraph/sparse), so that a crash leaves leaked clusters at worst: the mark that an image needs a check is taken
 * away where it stands, and never set.
 */

import { zeroRange } from '@diskgraph/clusters'
import {
  BlockError,
  type CheckOptions,
  type ChildHandle,
  type DriverInfo,
  type ImageCheck,
  type TruncateOptions,
} from '@diskgraph/core/driver'
import { SparseImage, TwoLevelMap } from '@diskgraph/sparse'
import { type CheckedImage, checkImage } from './check.ts'
import { Clusters } from './clusters.ts'
import { checkSize, Feature, type Header, headerBytes, placeName } from './header.ts'

/** What an image is made from. */
interface QedParts {
  readonly file: ChildHandle
  readonly header: Header
  /** The name in the header. */
  readonly backingName: string | undefined
  readonly readOnly: boolean
  /** Asked for at every use: edges of the graph come and go. */
  backing(): ChildHandle | undefined
}

/** See the top of this file. */
export class QedImage extends SparseImage implements CheckedImage {
  readonly file: ChildHandle
  readonly clusters: Clusters
  readonly map: TwoLevelMap
  #header: Header
  #backingName: string | undefined
  readonly #backing: () => ChildHandle | undefined

  constructor({ file, header, backingName, readOnly, backing }: QedParts) {
    const clusters = new Clusters(file, header, () => this.#backing() === undefined && this.#backingName === undefined)
    const map = new TwoLevelMap(clusters)
    super({
      file,
      clusterSize: header.clusterSize,
      size: () => this.#header.size,
      readOnly,
      map,
      backing,
      namesBacking: () => this.#backingName !== undefined,
    })
    this.file = file
    this.clusters = clusters
    this.map = map
    this.#header = header
    this.#backingName = backingName
    this.#backing = backing
  }

  get header(): Header {
    return this.#header
  }

  flush(): Promise<void> {
    return this.map.flush()
  }

  async close(): Promise<void> {
    if (!this.data.readOnly) await this.flush()
  }

  /** Before the first write: bits that this driver does not know go, and so does damage that a crash may have left. */
  async activate(warn: (text: string) => void): Promise<void> {
    if ((this.#header.features & Feature.needCheck) !== 0) {
      await this.check({ repair: 'all', onFinding: (_, text) => warn(text) })
    }
    if (this.#header.autoclearFeatures !== 0n) await this.#write({ autoclearFeatures: 0n })
  }

  /** The image has been checked. */
  async markChecked(): Promise<void> {
    if ((this.#header.features & Feature.needCheck) === 0) return
    await this.file.flush()
    await this.#write({ features: this.#header.features & ~Feature.needCheck })
  }

  /** Writes the header with other fields, and `name` where the header says that it stands. */
  async #write(fields: Partial<Header>, name?: Uint8Array): Promise<void> {
    const header = { ...this.#header, ...fields }
    const bytes = headerBytes(header)
    const whole = new Uint8Array(bytes.length + (name?.length ?? 0))
    whole.set(bytes)
    if (name !== undefined) whole.set(name, bytes.length)
    await this.file.write(0, whole)
    this.#header = header
  }

  info(): Promise<DriverInfo> {
    const { clusterSize, features } = this.#header
    const name = this.#backingName
    return Promise.resolve({
      clusterSize,
      dirty: (features & Feature.needCheck) !== 0,
      ...(name === undefined ? {} : { backingFilename: name }),
      ...(name !== undefined && (features & Feature.backingFormatNoProbe) !== 0 ? { backingFormat: 'raw' } : {}),
    })
  }

  check(options: CheckOptions): Promise<ImageCheck> {
    return checkImage(this, options)
  }

  async changeBacking(filename: string | undefined, format: string | undefined): Promise<void> {
    // What is to show without the old backing file is in the image before the image forgets it.
    await this.flush()
    await this.file.flush()
    const { clusterSize, headerClusters } = this.#header
    const features = this.#header.features & ~(Feature.backingFile | Feature.backingFormatNoProbe)
    if (filename === undefined) {
      await this.#write({ features, name: undefined })
    } else {
      const bytes = new TextEncoder().encode(filename)
      const name = placeName(bytes, headerClusters * clusterSize)
      await this.#write({ features: features | backingFeatures(format), name }, bytes)
    }
    this.#backingName = filename
  }

  async truncate(size: number, options: TruncateOptions): Promise<void> {
    const { preallocation = 'off' } = options
    if (preallocation !== 'off') throw new BlockError('ENOTSUP', `Unsupported preallocation mode '${preallocation}'`)
    const { clusterSize, tableBytes } = this.#header
    const before = this.size
    if (size < before) throw new BlockError('ENOTSUP', 'Shrinking images is currently not supported')
    checkSize(size, clusterSize, tableBytes / clusterSize)
    await this.flush()
    await this.#write({ size })
    if (options.zero === true) await zeroRange(this.data, before, size - before, 0)
  }
}

/** The bits that tell of a backing file. */
export function backingFeatures(format: string | undefined): number {
  return Feature.backingFile | (format === 'raw' ? Feature.backingFormatNoProbe : 0)
}
