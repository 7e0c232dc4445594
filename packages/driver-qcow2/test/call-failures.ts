/** A storage that fails once, at every call in turn. */
import { type Disk, type ErrorCode, Graph } from '@diskgraph/core'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { Faults, MemoryFiles, type PagedFile } from '@diskgraph/driver-testkit'

/** Runs `work` on copies of an image while its n-th call to the storage fails, for every n, and examines each. */
export async function failEachCall(
  image: PagedFile,
  work: (disk: Disk) => Promise<unknown>,
  examine: (file: PagedFile, failed: boolean) => Promise<void>,
  check = false,
): Promise<number> {
  let runs = 0
  for (const code of ['EIO', 'ENOSPC'] as ErrorCode[]) {
    for (let nth = 1; ; nth++) {
      const memoryFiles = new MemoryFiles()
      memoryFiles.put('image', image.clone())
      const faults = new Faults()
      const graph = new Graph({ drivers: [qcow2, memoryFiles.driver, faults.driver], onWarning: () => {} })
      const file = { driver: 'testkit-fault', file: { driver: 'testkit-file', name: 'image' } }
      const disk = await graph.addUnchecked({ driver: 'qcow2', file }, { check })
      faults.arm({ nth, code })
      const failure = await work(disk).then(
        () => undefined,
        (error: unknown) => error,
      )
      faults.disarm()
      await graph.close().catch(() => undefined)
      await examine(memoryFiles.file('image'), failure !== undefined)
      if (faults.hits.length === 0) break
      runs++
    }
  }
  return runs
}
