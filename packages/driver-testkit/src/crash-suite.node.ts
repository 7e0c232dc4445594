import { must } from './assertions.ts'
import {
  type CrashJudge,
  type CrashTestSettings,
  crashTest,
  type NegativeControl,
  negativeControls,
} from './crash/crash-test.ts'
import { peer, type SkippingTest, type SkippingTestFunctions } from './peer.node.ts'
import { randomSeed } from './random.ts'
import { errorSweep, type SweepSettings } from './sweep.ts'
import { TempFolder } from './tools.node.ts'

/** What {@link crashSuite} is told: a crash test's settings, and what else is tested. The seed is `SEED`, or a new one. */
export interface CrashSuiteSettings extends Omit<CrashTestSettings, 'seed' | 'judges' | 'change'> {
  /** The functions of a test runner. */
  readonly test: SkippingTestFunctions<SkippingTest, SkippingTest>
  /** A judge that asks the real qemu-img, with a folder for its files. Left out: qemu-img does not judge the format. */
  readonly judge?: (folder: TempFolder) => CrashJudge
  /** The faults that the crash test must find out. Default: all. */
  readonly controls?: readonly NegativeControl[]
  /** The disk of the error sweep. */
  readonly sweep?: Pick<SweepSettings, 'size' | 'cluster'>
}

/** Workloads until a control must have been found out: some have no moment at which it shows. */
const mostWorkloads = 8

/**
 * Registers the tests of what a format leaves behind: after crashes, whose judgement is not blind, and after errors of
 * its storage.
 */
export function crashSuite(settings: CrashSuiteSettings): void {
  const { test, judge, controls = Object.keys(negativeControls) as NegativeControl[], sweep, ...crash } = settings
  const seed = Number(process.env.SEED ?? randomSeed())
  const { driver, drivers = [], options = {}, createOptions = {} } = crash
  test.describe(`${driver.name} after a crash (seed ${seed})`, () => {
    const survives = async (makeJudge?: (folder: TempFolder) => CrashJudge): Promise<void> => {
      await using folder = await TempFolder.make()
      const judges = makeJudge === undefined ? [] : [makeJudge(folder)]
      const { findings, states } = await crashTest({ ...crash, seed, judges })
      mustFindNothing(findings.map(({ kind, text }) => `${kind}: ${text}`))
      must(states === crash.states, `${states} states were judged instead of ${crash.states}`)
    }
    const qemu = peer('qemu-img', test)
    if (judge === undefined || qemu.path === undefined) {
      test.it('has every sector that was flushed, and leaks at worst', () => survives())
    }
    if (judge !== undefined) {
      qemu.it('has every sector that was flushed, and leaks at worst, also for qemu-img', () => survives(judge))
    }

    for (const control of controls) {
      test.it(`would be found out with ${control}`, async () => {
        for (let i = 0; i < mostWorkloads; i++) {
          const report = await crashTest({ ...crash, seed: seed + i, change: negativeControls[control] })
          if (report.findings.length > 0) return
        }
        throw new Error(`${mostWorkloads} crash tests pass although they must not`)
      })
    }

    test.it('tells every error of its storage', async () => {
      const { findings, runs } = await errorSweep({ driver, drivers, options, createOptions, ...sweep })
      mustFindNothing(findings.map(({ kind, verb, nth, call, text }) => `${kind} ${verb} ${nth} ${call}: ${text}`))
      must(runs > 10, `no more than ${runs} calls to the storage failed`)
    })
  })
}

function mustFindNothing(findings: readonly string[]): void {
  must(findings.length === 0, findings.join('\n'))
}
