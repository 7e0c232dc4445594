import {
  type CrashJudge,
  crashSuite,
  loadFile,
  qemuImgJudge,
  runTool,
  storeFile,
  type TempFolder,
} from '@diskgraph/driver-testkit'
import { vhdx } from '@diskgraph/driver-vhdx'
import { describe, it } from 'vitest'

/** QEMU reads no image before its log is replayed. */
function replayingJudge(folder: TempFolder): CrashJudge {
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

crashSuite({
  test: { describe, it },
  driver: vhdx,
  createOptions: { blockSize: 2 ** 20 },
  size: 2 ** 23,
  cluster: 2 ** 20,
  operations: 60,
  statesPerWorkload: 40,
  states: 80,
  judge: replayingJudge,
})
