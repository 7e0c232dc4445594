/** How qemu-img judges images after a crash. */
import { type CrashJudge, loadFile, qemuImgJudge, runTool, storeFile, type TempFolder } from '@diskgraph/driver-testkit'

/** QEMU reads no image before its log is replayed. */
export function replayingJudge(folder: TempFolder): CrashJudge {
  const judge = qemuImgJudge({ format: 'vhdx', folder })
  return async (judged) => {
    const image = judged.state.files.get('image')
    if (image === undefined) return undefined
    const path = folder.file('replayed')
    storeFile(path, image)
    await runTool('qemu-img', ['check', '-q', '-f', 'vhdx', '-r', 'all', path])
    return judge({ ...judged, state: { ...judged.state, files: new Map([['image', loadFile(path)]]) } })
  }
}
