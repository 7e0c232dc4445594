/** What `npm run reliability` does to qcow2. */
import { qcow2 } from '@diskgraph/driver-qcow2'
import {
  loadFile,
  type PagedFile,
  qcow2Fields,
  type ReliabilitySubject,
  type ReliabilityVariant,
  runTool,
  TempFolder,
} from '@diskgraph/driver-testkit'

const snapshots = { snapshot: 0.5, unsnapshot: 0.3, revert: 0.2 }
const snapshotSteps = { 'snapshot-create': 0.6, 'snapshot-apply': 0.2, 'snapshot-delete': 0.3 }

const variants: readonly ReliabilityVariant[] = [
  {
    name: '64 KiB clusters',
    createOptions: {},
    qemuCreateOptions: 'cluster_size=65536',
    cluster: 65536,
    guest: { compressed: 2 },
    steps: { compressed: 1, truncate: 0.5 },
    size: 2 ** 22,
  },
  {
    name: '512 B clusters',
    createOptions: { clusterSize: 512 },
    qemuCreateOptions: 'cluster_size=512',
    cluster: 512,
    guest: { grow: 0.3 },
    steps: { truncate: 0.5 },
    size: 2 ** 20,
  },
  {
    name: 'lazy refcounts',
    createOptions: { lazyRefcounts: true },
    qemuCreateOptions: 'lazy_refcounts=on',
    cluster: 65536,
    guest: {},
    steps: { compressed: 1 },
    size: 2 ** 22,
  },
  {
    name: 'version 2',
    createOptions: { compat: 'v2', clusterSize: 4096 },
    qemuCreateOptions: 'compat=v2,cluster_size=4096',
    cluster: 4096,
    guest: {},
    steps: { compressed: 1, truncate: 0.5 },
    size: 2 ** 21,
  },
  {
    name: 'snapshots',
    createOptions: { clusterSize: 4096 },
    qemuCreateOptions: 'cluster_size=4096',
    cluster: 4096,
    guest: snapshots,
    steps: snapshotSteps,
    size: 2 ** 21,
  },
  {
    name: 'backing file',
    createOptions: { clusterSize: 16384 },
    qemuCreateOptions: 'cluster_size=16384',
    cluster: 16384,
    guest: { compressed: 1, grow: 0.2 },
    steps: { compressed: 1, truncate: 0.5, 'snapshot-create': 0.2, 'snapshot-apply': 0.1, 'snapshot-delete': 0.1 },
    backing: 'backing',
    size: 2 ** 21,
  },
  {
    name: '1-bit refcounts',
    createOptions: { refcountBits: 1, clusterSize: 1024 },
    qemuCreateOptions: 'refcount_bits=1,cluster_size=1024',
    cluster: 1024,
    guest: {},
    steps: { truncate: 0.5 },
    size: 2 ** 20,
  },
  {
    name: '64-bit refcounts',
    createOptions: { refcountBits: 64, clusterSize: 4096 },
    qemuCreateOptions: 'refcount_bits=64,cluster_size=4096',
    cluster: 4096,
    guest: snapshots,
    steps: { ...snapshotSteps, compressed: 1 },
    size: 2 ** 21,
  },
]

/** Whether the dirty bit of a qcow2 image is set. */
function isDirty(image: PagedFile): boolean {
  const bits = new Uint8Array(8)
  image.read(72, bits)
  const version = new Uint8Array(4)
  image.read(4, version)
  return (version[3] as number) >= 3 && ((bits[7] as number) & 1) === 1
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
    if (!options.includes('v2')) await runTool('qemu-img', ['bitmap', '--add', '-g', '4k', path, 'bitmap'])
    await runTool('qemu-io', ['-f', 'qcow2', '-c', 'write -P 2 4k 20k', '-c', 'write -c -P 3 128k 4k', path])
    images.push(loadFile(path))
  }
  return images
}

export const subject: ReliabilitySubject = {
  driver: qcow2,
  format: 'qcow2',
  variants,
  checked: true,
  isDirty,
  mutations: { fields: qcow2Fields, theirImages },
}
