import type { DriverDescriptor } from '@diskgraph/core'
import { type ConformanceSettings, conformance } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { type FilterMistake, toyFilter } from './toy-filter.ts'
import { type Mistake, toyFormat } from './toy-format.ts'

await conformance({ test: { describe, it }, driver: toyFormat() })
await conformance({ test: { describe, it }, driver: toyFilter() })

/** Runs the suite against a driver and returns the names of the tests that fail, with their messages. */
async function failuresOf(
  driver: DriverDescriptor,
  chosen = '',
  refuses: ConformanceSettings['refuses'] = [],
): Promise<Map<string, string>> {
  const tests: [string, () => Promise<void>][] = []
  await conformance({
    test: { describe: (_, body) => body(), it: (name, body) => tests.push([name, body]) },
    driver,
    refuses,
    seed: 7,
    operations: 100,
    patience: 1000,
  })
  const failures = new Map<string, string>()
  for (const [name, body] of tests) {
    if (!name.startsWith(chosen)) continue
    await body().catch((error: Error) => failures.set(name, error.message))
  }
  return failures
}

describe('the suite fails a driver that', () => {
  it.each<[Mistake, string, RegExp]>([
    ['writes-outside', 'fills every byte', /read wrote outside the buffer/],
    ['changes-buffer', 'reads back what was written', /./],
    ['keeps-buffer', 'reads back what was written', /./],
    ['loses-concurrent', 'loses none of many small writes', /byte at/],
    ['lies-zero', 'tells the truth about a disk that was written', /the zero extent/],
    ['swallows-errors', 'reports each failing call', /but write and flush do not/],
    ['plain-error', 'fills every byte', /./],
  ])('%s', async (mistake, test, message) => {
    const failures = await failuresOf(toyFormat(mistake), test)
    const found = [...failures][0]
    expect(found?.[1]).toMatch(message)
  })

  it.each<[FilterMistake, string, RegExp]>([
    ['acknowledges-early', 'gives one of the two orders for each pair of operations', /at once|alone/],
    [
      'forgets-neighbours',
      'gives one of the two orders for each pair over a storage with blocks',
      /byte .* instead of/,
    ],
    ['reuses-under-readers', 'shows a late reader what was there', /which was never there/],
    ['grows-before-storage', 'is as before or as after each whole operation whose n-th call', /grow|shrink/],
    ['grows-before-storage', 'is as before or as after each whole operation that is aborted', /grow|shrink/],
    ['stays-locked', 'rejects, and hangs nowhere', /never ends/],
    ['dies-when-full', 'says ENOSPC on a full storage', /it was full once/],
    ['hides-full', 'says ENOSPC on a full storage', /\(done\), byte/],
    ['odd-info', 'gives information that can be shown', /info.specific is no plain object/],
    ['ignores-shrink', 'forgets what truncate cuts off', /the size is/],
  ])('as a filter %s: %s', async (mistake, test, message) => {
    expect((await failuresOf(toyFilter(mistake), test)).values().next().value).toMatch(message)
  })

  it('does what it is said to refuse', async () => {
    const failures = await failuresOf(toyFilter(), 'refuses to shrink', ['shrink'])
    expect([...failures.values()]).toEqual(['to shrink succeeds, but must fail'])
  })

  it('throws instead of rejecting', async () => {
    await expect(failuresOf(toyFormat('throws-at-once')).then((map) => [...map.values()].join())).resolves.toMatch(
      /not a BlockError|not a rejection/,
    )
  })
})
