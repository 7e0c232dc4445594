import { qcow2 } from '@diskgraph/driver-qcow2'
import {
  crashTest,
  errorSweep,
  findTool,
  negativeControls,
  type PagedFile,
  qemuImgJudge,
  randomSeed,
  TempFolder,
} from '@diskgraph/driver-testkit'
import { afterAll, describe, expect, it } from 'vitest'

const seed = Number(process.env.SEED ?? randomSeed())
const folder = await TempFolder.make()
/** Whether an image says of itself that its refcounts are unfinished: byte 79 holds the dirty bit. */
const dirty = (image: PagedFile): boolean => {
  const byte = new Uint8Array(1)
  image.read(79, byte)
  return (byte[0]! & 1) !== 0
}
const judges = findTool('qemu-img') === undefined ? [] : [qemuImgJudge({ format: 'qcow2', folder, dirty })]
afterAll(() => folder.remove())

const variants: readonly (readonly [string, Record<string, unknown>])[] = [
  ['64 KiB clusters', {}],
  ['512-byte clusters', { createOptions: { clusterSize: 512, refcountBits: 1 }, size: 1024 * 1024, cluster: 512 }],
  ['lazy refcounts', { createOptions: { lazyRefcounts: true } }],
  ['version 2', { createOptions: { compat: 'v2' } }],
  ['passed discards', { options: { passDiscardOther: true } }],
  ['subclusters', { createOptions: { extendedL2: true, clusterSize: 16384 }, cluster: 16384 }],
  ['compressed clusters', { weights: { compressed: 6 } }],
]

describe(`crash states (seed ${seed})`, () => {
  it.each(variants)('an image with %s survives every crash', async (_, variant) => {
    const report = await crashTest({ driver: qcow2, seed, states: 60, judges, judgeEvery: 5, ...variant })
    expect(report.findings.map(({ kind, text }) => `${kind}: ${text}`)).toEqual([])
    expect(report).toMatchObject({ states: 60, corrupt: 0, lost: 0, unopenable: 0, staleSectors: 0 })
  })

  it('is not blind: a recording without some flushes does not survive', async () => {
    for (const change of Object.values(negativeControls)) {
      let found = 0
      // One workload in eight has no moment at which what is left out would show.
      for (let i = 0; found === 0 && i < 6; i++) {
        const report = await crashTest({ driver: qcow2, seed: seed + i, states: 100, judges, judgeEvery: 3, change })
        found = report.findings.length
      }
      expect(found).toBeGreaterThan(0)
    }
  })
})

describe('error sweep', () => {
  it.each([
    ['64 KiB clusters', {}],
    ['512-byte clusters', { clusterSize: 512, refcountBits: 64 }],
    ['lazy refcounts', { lazyRefcounts: true }],
  ])('no error of the storage is swallowed with %s', async (_, createOptions) => {
    const report = await errorSweep({ driver: qcow2, createOptions })
    expect(report.findings.map(({ kind, verb, nth, call, text }) => `${kind} ${verb} ${nth} ${call}: ${text}`)).toEqual(
      [],
    )
    expect(report.runs).toBeGreaterThan(20)
  })
})
