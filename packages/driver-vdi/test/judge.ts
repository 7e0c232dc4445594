/** How qemu-img judges images after a crash. */
import { Graph } from '@diskgraph/core'
import { type CrashJudge, MemoryFiles, qemuImgJudge, type TempFolder } from '@diskgraph/driver-testkit'
import { vdi } from '@diskgraph/driver-vdi'

/** Blocks that leaked are errors for qemu-img, which cannot repair them: it sees images that our driver has repaired. */
export function repairedJudge(folder: TempFolder): CrashJudge {
  const judge = qemuImgJudge({ format: 'vdi', folder })
  return async (judged) => {
    const image = judged.state.files.get('image')
    if (image === undefined) return undefined
    const files = new MemoryFiles()
    files.put('image', image.clone())
    await using graph = new Graph({ drivers: [vdi, files.driver] })
    const disk = await graph.addUnchecked({ driver: 'vdi', file: { driver: 'testkit-file', name: 'image' } })
    await disk.check({ repair: 'all' })
    await disk.close()
    return judge({ ...judged, state: { ...judged.state, files: files.byName } })
  }
}
