/** Small intact images to be damaged: made by the driver, and by the real tools where they are installed. */
import { Flag, Graph } from '@diskgraph/core'
import {
  MemoryFiles,
  type PagedFile,
  type ReliabilitySubject,
  type ReliabilityVariant,
} from '@diskgraph/driver-testkit'

/** An image of each variant, others that the subject brings, those of the real tools. */
export async function intactImages(subject: ReliabilitySubject, peers: boolean): Promise<PagedFile[]> {
  const images: PagedFile[] = []
  for (const variant of subject.variants) images.push(await ourImage(subject, variant))
  images.push(...((await subject.mutations?.images?.()) ?? []))
  if (peers) images.push(...((await subject.mutations?.theirImages?.()) ?? []))
  return images
}

async function ourImage(
  { driver, mutations = { fields: () => [] } }: ReliabilitySubject,
  variant: ReliabilityVariant,
): Promise<PagedFile> {
  const { createOptions, cluster, guest } = variant
  const files = new MemoryFiles()
  files.put('image')
  await using graph = new Graph({ drivers: [driver, files.driver], secrets: mutations.secrets ?? {} })
  const file = { driver: 'testkit-file', name: 'image' }
  await graph.createUnchecked({ driver: driver.name, size: cluster * 100, ...createOptions, file })
  const disk = await graph.addUnchecked({ driver: driver.name, discard: 'unmap', ...mutations.options, file })
  const snapshots = guest.snapshot !== undefined && disk.node.image.snapshots !== undefined
  await disk.write(0, new Uint8Array(cluster * 3).fill(1))
  if (snapshots) await disk.snapshots.create({ name: 'first' })
  await disk.write(cluster, new Uint8Array(cluster).fill(2))
  if (snapshots) await disk.snapshots.create({ name: 'second' })
  await disk.writeZeroes(cluster * 10, cluster * 2)
  const compressed = driver.compressedWrites === true ? Flag.Compressed : 0
  await disk.write(cluster * 20, new Uint8Array(cluster).fill(3), compressed)
  await disk.write(cluster * 70 + 5, new Uint8Array(cluster).fill(4))
  await disk.close()
  return files.file('image')
}
