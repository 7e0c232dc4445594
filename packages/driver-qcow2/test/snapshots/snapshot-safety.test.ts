/** Crashes and failing storage in the middle of snapshot operations and repairs. */
import { qcow2 } from '@diskgraph/driver-qcow2'
import {
  crashTest,
  errorSweep,
  findTool,
  type PagedFile,
  qemuImgJudge,
  randomSeed,
  runTool,
  storeFile,
  TempFolder,
} from '@diskgraph/driver-testkit'
import { afterAll, describe, expect, it } from 'vitest'

const seed = Number(process.env.SEED ?? randomSeed())
const folder = await TempFolder.make()
const tool = findTool('qemu-img')
const judges = tool === undefined ? [] : [qemuImgJudge({ format: 'qcow2', folder })]
afterAll(() => folder.remove())

const variants: readonly (readonly [string, Record<string, unknown>])[] = [
  ['64 KiB clusters', {}],
  ['512-byte clusters', { createOptions: { clusterSize: 512, refcountBits: 8 }, size: 512 * 1024, cluster: 512 }],
  ['version 2', { createOptions: { compat: 'v2', clusterSize: 4096 }, cluster: 4096 }],
]

/** What qemu-img finds wrong with an image beyond leaks. */
async function judge(image: PagedFile): Promise<string | undefined> {
  if (tool === undefined) return undefined
  const path = folder.file('swept')
  storeFile(path, image)
  const { status, stdout, stderr } = await runTool(tool, ['check', '-f', 'qcow2', path])
  return status === 0 || status === 3 ? undefined : `status ${status}: ${stdout}${stderr}`
}

describe(`snapshots and crashes (seed ${seed})`, () => {
  it.each(variants)('an image with %s survives every crash around a snapshot', async (_, variant) => {
    const weights = { snapshot: 5, unsnapshot: 4 }
    const settings = { driver: qcow2, seed, states: 50, judges, judgeEvery: 2, operations: 60, weights }
    const report = await crashTest({ ...settings, ...variant })
    expect(report.findings.map(({ kind, text }) => `${kind}: ${text}`)).toEqual([])
    expect(report).toMatchObject({ states: 50, corrupt: 0, lost: 0, unopenable: 0 })
  })
})

describe('snapshots and failing storage', () => {
  it.each([
    ['64 KiB clusters', {}],
    ['512-byte clusters', { clusterSize: 512, refcountBits: 64 }],
    ['version 2', { compat: 'v2' }],
  ])('no failing call harms an image with %s', async (_, createOptions) => {
    const verbs = ['create snapshot', 'delete snapshot', 'apply snapshot', 'check and repair']
    const report = await errorSweep({ driver: qcow2, createOptions, verbs, judge, judgeEvery: 5 })
    expect(report.findings.map(({ kind, verb, nth, call, text }) => `${kind} ${verb} ${nth} ${call}: ${text}`)).toEqual(
      [],
    )
    expect(report.runs).toBeGreaterThan(20)
  })
})
