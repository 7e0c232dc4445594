/**
 * The disk that the page has: an image, and an overlay over it in the browser's private files. An image from a file of the
 * person's is copied there, for a page may not open the file again after a reload; one at an address stays where it is.
 */
import { type Disk, Graph } from '@diskgraph/core'
import { blob } from '@diskgraph/driver-blob'
import { http } from '@diskgraph/driver-http'
import { opfs } from '@diskgraph/driver-opfs'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { raw } from '@diskgraph/driver-raw'
import { vhdx } from '@diskgraph/driver-vhdx'
import { vmdk } from '@diskgraph/driver-vmdk'
import { copy, type JobProgress } from '@diskgraph/jobs'

const basePath = 'session/base'
const overlay = { driver: 'opfs', path: 'session/overlay.qcow2' } as const
const result = { driver: 'opfs', path: 'session/result.qcow2' } as const
/** Where the page remembers what the overlay stands on. */
const remembered = 'base'

type OnProgress = (progress: JobProgress) => void

/** See the top of the file. */
export class Session {
  readonly disk: Disk

  private constructor(disk: Disk) {
    this.disk = disk
  }

  /** The session of before a reload, if there was one. */
  static async resume(): Promise<Session | undefined> {
    const base = localStorage.getItem(remembered)
    if (base === null) return undefined
    // Of all that the overlay could name, the one image is opened that the person has chosen.
    const references = ({ filename }: { readonly filename: string }) =>
      filename === base || ({ code: 'EACCES', reason: 'it is another image' } as const)
    const graph = new Graph({ drivers: [opfs, http, raw, qcow2, vmdk, vhdx], references })
    return new Session(await graph.add({ driver: 'qcow2', file: overlay }))
  }

  static async ofFile(file: File, onProgress: OnProgress): Promise<Session> {
    await using graph = new Graph({ drivers: [blob, opfs] })
    await graph.create({ driver: 'opfs', path: basePath })
    const target = await graph.add({ driver: 'opfs', path: basePath })
    await target.truncate(file.size)
    await copy(await graph.add({ driver: 'blob', blob: file }), target, { onProgress })
    await graph.close()
    return Session.#start(`opfs:${basePath}`)
  }

  static ofUrl(url: string): Promise<Session> {
    return Session.#start(url)
  }

  static async #start(base: string): Promise<Session> {
    await using graph = new Graph({ drivers: [opfs, http, raw, qcow2, vmdk, vhdx] })
    const image = await graph.open(base, { readOnly: true })
    const backing = { backingFile: base, backingFmt: image.node.driver.name }
    const { size } = image
    await image.close()
    await graph.create({ driver: 'qcow2', file: overlay, size, ...backing })
    localStorage.setItem(remembered, base)
    return (await Session.resume()) as Session
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    await this.disk.write(offset, bytes)
    await this.disk.flush()
  }

  /** The image and what was written, as one compressed qcow2 image of its own. */
  async result(onProgress: OnProgress): Promise<File> {
    await using graph = new Graph({ drivers: [opfs, qcow2] })
    await graph.create({ driver: 'qcow2', file: result, size: this.disk.size })
    const target = await graph.add({ driver: 'qcow2', file: result })
    await copy(this.disk, target, { compressed: true, onProgress })
    await graph.close()
    const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle('session')
    return (await folder.getFileHandle('result.qcow2')).getFile()
  }

  /** Deletes everything that the page has kept. */
  async forget(): Promise<void> {
    localStorage.removeItem(remembered)
    await this.disk.graph.close()
    await (await navigator.storage.getDirectory()).removeEntry('session', { recursive: true })
  }
}
