import {
  type CrashJudge,
  crashTest,
  errorSweep,
  loadFile,
  negativeControls,
  qemuImgJudge,
  runTool,
  storeFile,
  TempFolder,
} from '@diskgraph/driver-testkit'
import { vhdx } from '@diskgraph/driver-vhdx'
import { describe, expect, it } from 'vitest'

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31))
const settings = {
  driver: vhdx,
  createOptions: { blockSize: 2 ** 20 },
  size: 2 ** 23,
  cluster: 2 ** 20,
  operations: 60,
  statesPerWorkload: 40,
  states: 80,
}

describe(`vhdx after a crash (seed ${seed})`, () => {
  it('has every sector that was flushed, also for qemu-img', async () => {
    await using folder = await TempFolder.make()
    const judge = qemuImgJudge({ format: 'vhdx', folder })
    // QEMU reads no image before its log is replayed.
    const replaying: CrashJudge = async (judged) => {
      const image = judged.state.files.get('image')
      if (image === undefined) return undefined
      const path = folder.file('replayed')
      storeFile(path, image)
      await runTool('qemu-img', ['check', '-q', '-f', 'vhdx', '-r', 'all', path])
      return judge({ ...judged, state: { ...judged.state, files: new Map([['image', loadFile(path)]]) } })
    }
    const report = await crashTest({ ...settings, seed, judges: [replaying] })
    expect(report.findings.map(({ text }) => text)).toEqual([])
  })

  it.each(['ignoreGuestFlush', 'ignoreOwnFlushes', 'dataAfterMetadata'] as const)(
    'would be found out with %s',
    async (control) => {
      let found = 0
      for (let i = 0; found === 0 && i < 8; i++) {
        const report = await crashTest({ ...settings, seed: seed + i, change: negativeControls[control]! })
        found = report.findings.length
      }
      expect(found).toBeGreaterThan(0)
    },
  )

  it('tells every error of its storage', async () => {
    const report = await errorSweep({ driver: vhdx, createOptions: settings.createOptions })
    expect(report.findings.map(({ kind, verb, nth, call, text }) => `${kind} ${verb} ${nth} ${call}: ${text}`)).toEqual(
      [],
    )
    expect(report.runs).toBeGreaterThan(10)
  })
})
