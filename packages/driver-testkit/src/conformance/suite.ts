import { must } from '../assertions.ts'
import { randomSeed } from '../random.ts'
import { concurrentCases } from './concurrency.ts'
import { describingCases } from './descriptor.ts'
import { failingCases } from './failures.ts'
import { type Case, type ConformanceSettings, capabilitiesOf, Trial } from './fixture.ts'
import { fullCases } from './full-storage.ts'
import { interruptedCases } from './interruptions.ts'
import { lateCases } from './late-answers.ts'
import { lackingCases } from './missing-methods.ts'
import { randomCases } from './random-operations.ts'
import { readingCases } from './reads.ts'
import { keepingCases } from './snapshots.ts'
import { statusCases } from './status.ts'
import { writingCases } from './writes.ts'

const groups: readonly (readonly [string, readonly Case[]])[] = [
  ['descriptor', describingCases],
  ['reading', readingCases],
  ['writing', writingCases],
  ['status', statusCases],
  ['snapshots and checks', keepingCases],
  ['random operations', randomCases],
  ['operations at once', concurrentCases],
  ['late answers', lateCases],
  ['failures', failingCases],
  ['every step fails', interruptedCases],
  ['a full storage', fullCases],
  ['what is left out', lackingCases],
]

/**
 * Registers the conformance tests of a driver with a test runner:
 *
 *     await conformance({ test: { describe, it }, driver: raw })
 *
 * The driver is opened once to see what it can do; only the tests of what it has are registered, and the title says
 * what that is. Await it at the top level of a test file. Every test has a world of its own, and besides what its
 * name says it holds the driver and the core to the contract through a witness between them.
 */
export async function conformance(settings: ConformanceSettings): Promise<void> {
  const seed = settings.seed ?? randomSeed()
  const capabilities = await discover(settings, seed)
  const { describe, it } = settings.test
  describe(`conformance of ${settings.driver.name} (seed ${seed}; ${[...capabilities].sort().join(', ')})`, () => {
    for (const [title, cases] of groups) {
      const chosen = cases.filter(
        ({ needs = [], lacks = [] }) =>
          needs.every((need) => capabilities.has(need)) && !lacks.some((lack) => capabilities.has(lack)),
      )
      if (chosen.length === 0) continue
      describe(title, () => {
        for (const { name, run, ...world } of chosen) {
          it(name, () => Trial.run(settings, seed, run, { capabilities, ...world }))
        }
      })
    }
  })
}

/** What the driver declares: the methods of its images, less what its author says they refuse. */
async function discover(settings: ConformanceSettings, seed: number): Promise<Set<string>> {
  const capabilities = new Set<string>()
  await Trial.run(settings, seed, async (trial) => {
    const disk = await trial.open()
    if (!disk.readOnly) for (const name of capabilitiesOf(disk.node.image)) capabilities.add(name)
    else if (disk.node.image.info !== undefined) capabilities.add('info')
    if (disk.readOnly) capabilities.add('read-only')
    if (trial.shelf.files.size > 0) capabilities.add('shelf')
  })
  if (capabilities.has('truncate')) capabilities.add('grow').add('shrink')
  if (settings.keepsData !== false) capabilities.add('keeping')
  for (const name of ['create', 'probe', 'measure'] as const) {
    if (settings.driver[name] !== undefined && settings.setUp === undefined) capabilities.add(name)
  }
  for (const name of settings.refuses ?? []) {
    must(capabilities.has(name), `the driver cannot refuse '${name}': it does not declare it`)
    capabilities.delete(name)
    capabilities.add(`refuses ${name}`)
  }
  return capabilities
}
