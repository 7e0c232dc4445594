import { must } from '../assertions.ts'
import { randomSeed } from '../random.ts'
import { concurrencyCases } from './concurrency.ts'
import { descriptorCases } from './descriptor.ts'
import { failureCases } from './failures.ts'
import { type Case, type ConformanceSettings, capabilitiesOf, Fixture } from './fixture.ts'
import { fullStorageCases } from './full-storage.ts'
import { interruptionCases } from './interruptions.ts'
import { lateAnswerCases } from './late-answers.ts'
import { missingMethodCases } from './missing-methods.ts'
import { randomOperationCases } from './random-operations.ts'
import { readCases } from './reads.ts'
import { snapshotCases } from './snapshots.ts'
import { statusCases } from './status.ts'
import { writeCases } from './writes.ts'

const groups: readonly (readonly [string, readonly Case[]])[] = [
  ['descriptor', descriptorCases],
  ['reading', readCases],
  ['writing', writeCases],
  ['status', statusCases],
  ['snapshots and checks', snapshotCases],
  ['random operations', randomOperationCases],
  ['operations at once', concurrencyCases],
  ['late answers', lateAnswerCases],
  ['failures', failureCases],
  ['every step fails', interruptionCases],
  ['a full storage', fullStorageCases],
  ['what is left out', missingMethodCases],
]

/**
 * Registers the conformance tests of a driver with a test runner:
 *
 *     await conformance({ test: { describe, it }, driver: raw })
 *
 * The driver is opened once to see what it can do; only the tests of what it has are registered, and the title says
 * what that is. Await it at the top level of a test file. Every test has a fixture of its own, and besides what its
 * name says it holds the driver and the core to the contract through a checker between them.
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
        for (const { name, run, ...options } of chosen) {
          it(name, () => Fixture.run(settings, seed, run, { capabilities, ...options }))
        }
      })
    }
  })
}

/** What the driver declares: the methods of its images, less what its author says they refuse. */
async function discover(settings: ConformanceSettings, seed: number): Promise<Set<string>> {
  const capabilities = new Set(['readOnly'])
  await Fixture.run(settings, seed, async (fixture) => {
    const disk = await fixture.open()
    if (!disk.readOnly) for (const name of capabilitiesOf(disk.node.image)) capabilities.add(name)
    else if (disk.node.image.info !== undefined) capabilities.add('info')
    if (disk.readOnly) capabilities.add('read-only')
    if (fixture.files.byName.size > 0) capabilities.add('file')
  })
  if (capabilities.has('truncate')) capabilities.add('shrink')
  if (capabilities.has('truncate') && settings.growsNoise !== true) capabilities.add('grow')
  if (settings.keepsData !== false) capabilities.add('persistence')
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
