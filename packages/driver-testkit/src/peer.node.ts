import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

/** The functions of a test runner that can also skip. */
export interface SkippingTestFunctions<Describe extends SkippingTest, It extends SkippingTest> {
  readonly describe: Describe
  readonly it: It
}

/** A `describe` or `it` with its `skip`. */
// biome-ignore lint/suspicious/noExplicitAny: parameters of functions that are only passed on
export type SkippingTest = ((name: string, body: (...args: any[]) => any, timeout?: number) => unknown) & {
  // biome-ignore lint/suspicious/noExplicitAny: as above
  skip: (name: string, body: (...args: any[]) => any, timeout?: number) => unknown
}

/** Tests that need a tool from outside. */
export interface PeerTests<Describe, It> {
  /** Where the tool is; undefined when it is missing. */
  readonly path: string | undefined
  readonly describe: Describe
  readonly it: It
}

/** Where the program `tool` is on the search path; undefined when it is not. */
export function findTool(tool: string): string | undefined {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const path = join(folder, tool)
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {}
  }
  return undefined
}

/**
 * `describe` and `it` for tests that compare with a real program, `peer('qemu-img', { describe, it })`. While the
 * program is missing the tests are skipped by name, so that they are counted; with DISKGRAPH_REQUIRE_PEERS=1 they
 * fail instead.
 */
export function peer<Describe extends SkippingTest, It extends SkippingTest>(
  tool: string,
  test: SkippingTestFunctions<Describe, It>,
): PeerTests<Describe, It> {
  const path = findTool(tool)
  if (path !== undefined) return { path, describe: test.describe, it: test.it }
  if (process.env.DISKGRAPH_REQUIRE_PEERS === '1') {
    const failing = (name: string): unknown =>
      test.it(`${name} (needs ${tool})`, () => {
        throw new Error(`the program '${tool}' is missing, and DISKGRAPH_REQUIRE_PEERS=1 does without no peer`)
      })
    const substitute = Object.assign(failing, { skip: test.it.skip })
    return { path, describe: substitute as unknown as Describe, it: substitute as unknown as It }
  }
  return {
    path,
    describe: skipping(test.describe, tool) as Describe,
    it: skipping(test.it, tool) as It,
  }
}

function skipping(test: SkippingTest, tool: string): SkippingTest {
  const skip: SkippingTest['skip'] = (name, body, timeout) => test.skip(`${name} (needs ${tool})`, body, timeout)
  return Object.assign(skip, { skip })
}
