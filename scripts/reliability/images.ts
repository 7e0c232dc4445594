/** Small intact qcow2 images to be damaged: made by the driver, and by qemu-img where it is installed. */
import { Flag, Graph } from '@diskgraph/core'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { loadFile, type PagedFile, runTool, Shelf, TempFolder } from '@diskgraph/driver-testkit'
import { variants } from './variants.ts'

/** An image of each variant; then those of qemu-img. */
export async function intactImages(peers: boolean): Promise<PagedFile[]> {
  const images: PagedFile[] = []
  for (const { createOptions, cluster, guest } of variants)
    images.push(await ourImage(createOptions, cluster, guest.snapshot !== undefined))
  if (peers) images.push(...(await theirImages()))
  return images
}

async function ourImage(createOptions: object, cluster: number, snapshots: boolean): Promise<PagedFile> {
  const shelf = new Shelf()
  shelf.put('image')
  await using graph = new Graph({ drivers: [qcow2, shelf.driver] })
  const file = { driver: 'testkit-file', name: 'image' }
  await graph.createUnchecked({ driver: 'qcow2', size: cluster * 100, ...createOptions, file })
  const disk = await graph.addUnchecked({ driver: 'qcow2', discard: 'unmap', file })
  await disk.write(0, new Uint8Array(cluster * 3).fill(1))
  if (snapshots && disk.node.image.snapshots) await disk.snapshots.create({ name: 'first' })
  await disk.write(cluster, new Uint8Array(cluster).fill(2))
  if (snapshots && disk.node.image.snapshots) await disk.snapshots.create({ name: 'second' })
  await disk.writeZeroes(cluster * 10, cluster * 2)
  await disk.write(cluster * 20, new Uint8Array(cluster).fill(3), Flag.Compressed)
  await disk.write(cluster * 70 + 5, new Uint8Array(cluster).fill(4))
  await disk.close()
  return shelf.file('image')
}

async function theirImages(): Promise<PagedFile[]> {
  await using folder = await TempFolder.make()
  const path = folder.file('image')
  const images: PagedFile[] = []
  for (const options of [
    'cluster_size=4096',
    'cluster_size=4096,compat=v2',
    'cluster_size=512',
    'preallocation=metadata',
  ]) {
    await runTool('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', options, path, '256k'])
    await runTool('qemu-io', ['-f', 'qcow2', '-c', 'write -P 1 0 64k', '-c', 'write -z 64k 8k', path])
    await runTool('qemu-img', ['snapshot', '-c', 'snap', path])
    await runTool('qemu-io', ['-f', 'qcow2', '-c', 'write -P 2 4k 20k', '-c', 'write -c -P 3 128k 4k', path])
    images.push(loadFile(path))
  }
  return images
}
