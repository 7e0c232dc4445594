import { readFileSync } from 'node:fs'
import { must } from './assertions.ts'

/**
 * Holds the first example of a README to a test: every line of its first TypeScript block, imports left out, must stand
 * in the test file at `testUrl` in the same order. `readme` is relative to the test file.
 */
export function mustShowExample(testUrl: string, readme = '../README.md'): void {
  const text = readFileSync(new URL(readme, testUrl), 'utf8')
  const block = /```ts\n([\s\S]*?)```/.exec(text)?.[1]
  must(block !== undefined, `'${readme}' has no example`)
  const lines = readFileSync(new URL(testUrl), 'utf8')
    .split('\n')
    .map((line) => line.trim())
  let at = 0
  for (const line of block.split('\n').map((one) => one.trim())) {
    if (line === '' || /^import\b/.test(line)) continue
    const found = lines.indexOf(line, at)
    must(found >= 0, `the line '${line}' of the example in '${readme}' is not in the test`)
    at = found + 1
  }
}
