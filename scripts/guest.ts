/**
 * `npm run guest -- --root FOLDER`: a real guest over the storage daemon. Linux under QEMU (emulated) partitions a disk that
 * dg-storage-daemon exports, makes an ext4 file system on it and writes files, while mirrors, backups, snapshots and commits
 * run on that disk by QMP. Then the images are compared, `qemu-img check` and e2fsck look, and a second boot reads all files.
 *
 *     --root FOLDER       where a kernel and busybox are (/): see below
 *     --rounds N          rounds of backup, two snapshots, two commits and a mirror (4)
 *     --size MIB          of the disk (512)
 *
 * It needs qemu-system-x86, qemu-utils, e2fsprogs, and a Debian kernel with busybox-static. Nothing is installed or
 * downloaded here; the kernel need not be installed either:
 *
 *     apt-get download busybox-static linux-image-6.1.0-50-cloud-amd64   # or another version
 *     for package in *.deb; do dpkg -x $package guest-root; done
 *     npm run guest -- --root guest-root
 *
 * The exit status is 1 when something is missing, and when something is wrong.
 */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { TempFolder } from '@diskgraph/driver-testkit'
import { findParts, type GuestParts, makeInitramfs } from './guest/initramfs.ts'
import { Machine } from './guest/machine.ts'
import { type Meanwhile, Storage } from './guest/storage.ts'

/** KiB that the guest must write while a job runs or an overlay stands. */
const share = 4096
const start = performance.now()

const { values } = parseArgs({
  options: {
    root: { type: 'string', default: '/' },
    rounds: { type: 'string', default: '4' },
    size: { type: 'string', default: '512' },
  },
})

const parts = findParts(values.root)
if ('kernel' in parts) await run(parts)
else {
  console.error('a guest cannot be made; what is missing, and the Debian package that has it:')
  for (const sentence of parts) console.error(`    ${sentence}`)
  console.error('scripts/guest.ts says at its top how to unpack them without installing')
  process.exitCode = 1
}

async function run({ kernel, ...parts }: GuestParts): Promise<void> {
  await using folder = await TempFolder.make()
  const size = Number(values.size) * 2 ** 20
  const initramfs = folder.file('initramfs')
  writeFileSync(initramfs, await makeInitramfs({ kernel, ...parts }))

  let disk: string
  let written: readonly string[]
  {
    await using storage = await Storage.start(folder, size, 'disk')
    const first = await storage.mirror(async () => undefined)
    await using guest = new Machine({ kernel, initramfs, socket: storage.socket }, 'write')
    await guest.next('ready')
    say('the guest has partitioned the disk and made a file system, under a mirror')
    await during(guest, 'mirror, which the disk moves to', () => storage.pivotTo(first))
    for (let round = 0; round < Number(values.rounds); round++) await oneRound(storage, guest)
    let copy = ''
    await during(guest, 'mirror that writes wait for', async (meanwhile) => {
      copy = await storage.mirror(meanwhile, { 'copy-mode': 'write-blocking' })
      await guest.progress(share)
    })
    const done = guest.next('done')
    guest.stop()
    written = await done
    await guest.off()
    await storage.leave(copy)
    disk = storage.active
    await storage.stop()
    say(`the guest has written ${(guest.writtenKib / 1024).toFixed(0)} MiB and leaves ${written[0]} files`)
    for (const node of [disk, copy]) await storage.judge(node)
    await storage.compare(copy, disk)
    say('qemu-img: the mirror equals the disk, both are sound')
  }

  await using storage = await Storage.start(folder, size, disk)
  await using guest = new Machine({ kernel, initramfs, socket: storage.socket }, 'verify')
  const verified = await guest.next('verified')
  await guest.off()
  await storage.stop()
  if (verified.join(' ') !== written.join(' '))
    throw new Error(`read ${verified.join(' ')}, written ${written.join(' ')}`)
  await storage.judge(disk)
  say(`a second boot: e2fsck is content, ${verified[0]} files have the sums that they were written with`)
  console.log('passed')
}

/** All kinds of jobs once; the guest writes while each runs, and while each overlay stands. */
async function oneRound(storage: Storage, guest: Machine): Promise<void> {
  const base = storage.active
  await during(guest, 'snapshot and backup, which equals the disk at its start', (meanwhile) =>
    storage.snapshotAndBackup(meanwhile),
  )
  const middle = storage.active
  await guest.progress(share)
  await during(guest, 'second snapshot', () => storage.snapshot())
  await guest.progress(share)
  await during(guest, 'commit below the disk', (meanwhile) => storage.commitBelow(middle, base, meanwhile))
  await during(guest, 'commit of the disk itself', async (meanwhile) => {
    await storage.commitActive(meanwhile)
    await guest.progress(share)
    await storage.pivotDownTo(base)
  })
  await during(guest, 'mirror, which the disk moves to', async (meanwhile) => {
    const target = await storage.mirror(meanwhile)
    await guest.progress(share)
    await storage.pivotTo(target)
  })
}

/** Does `work`, whose jobs wait for the guest to write its share, and says how much it wrote. */
async function during(guest: Machine, what: string, work: (meanwhile: Meanwhile) => Promise<void>): Promise<void> {
  const before = guest.writtenKib
  const begin = performance.now()
  await work(() => guest.progress(share))
  say(
    `${what}: ${((performance.now() - begin) / 1000).toFixed(1)} s, ${guest.writtenKib - before} KiB written meanwhile`,
  )
}

function say(text: string): void {
  console.log(`${((performance.now() - start) / 1000).toFixed(1).padStart(6)} s  ${text}`)
}
