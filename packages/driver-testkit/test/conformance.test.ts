import { conformance } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { type Mistake, toyFormat } from './toy-format.ts'

await conformance({ test: { describe, it }, driver: toyFormat() })

/** Runs the suite against a driver and returns the names of the tests that fail, with their messages. */
async function failuresOf(mistake: Mistake): Promise<Map<string, string>> {
  const tests: [string, () => Promise<void>][] = []
  await conformance({
    test: { describe: (_, body) => body(), it: (name, body) => tests.push([name, body]) },
    driver: toyFormat(mistake),
    seed: 7,
    operations: 100,
  })
  const failures = new Map<string, string>()
  for (const [name, body] of tests) {
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
    const failures = await failuresOf(mistake)
    const found = [...failures].find(([name]) => name.startsWith(test))
    expect(found?.[1]).toMatch(message)
  })

  it('throws instead of rejecting', async () => {
    await expect(failuresOf('throws-at-once').then((map) => [...map.values()].join())).resolves.toMatch(
      /not a BlockError|not a rejection/,
    )
  })
})
