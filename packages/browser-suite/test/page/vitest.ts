/**
 * What the test files of the packages import as `vitest`, in a page: the same `expect`, and a runner that collects
 * tests and reports each by its path. Bodies of `describe` run when the file has been loaded, one after the other, so
 * that they may be asynchronous.
 */
import {
  ASYMMETRIC_MATCHERS_OBJECT,
  chai,
  JestAsymmetricMatchers,
  JestChaiExpect,
  JestExtend,
  setState,
} from '@vitest/expect'

/** The result of one test. */
export interface TestResult {
  /** Suites from the outside in, then the test. */
  readonly path: readonly string[]
  /** `skipped` or how long it took, in milliseconds. */
  readonly duration: number | 'skipped'
  /** What went wrong, with its stack. */
  readonly failure?: string
}

declare global {
  /** Stands for `process.cpuUsage`, in microseconds: a page knows the time that passes, which is more. */
  var cpuUsage: (since?: { user: number; system: number }) => { user: number; system: number }
}

globalThis.cpuUsage = (since) => ({ user: performance.now() * 1000 - (since?.user ?? 0), system: 0 })

type Body = () => unknown

interface Suite {
  readonly path: readonly string[]
  readonly body: Body
  readonly tests: { readonly name: string; readonly body: Body; readonly skipped: boolean }[]
  readonly suites: Suite[]
  readonly before: Body[]
  readonly after: Body[]
  readonly atEnd: Body[]
}

/** Longest test, in milliseconds. */
const longest = 240_000

chai.use(JestExtend)
chai.use(JestChaiExpect)
chai.use(JestAsymmetricMatchers)

/** vitest's `expect`. */
export const expect = Object.assign(
  (value: unknown, message?: string) => chai.expect(value, message),
  chai.expect,
  (globalThis as unknown as Record<symbol, object>)[ASYMMETRIC_MATCHERS_OBJECT],
)
setState({ assertionCalls: 0, isExpectingAssertions: false }, expect as never)

let current: Suite = newSuite([], () => undefined)

function newSuite(path: readonly string[], body: Body): Suite {
  return { path, body, tests: [], suites: [], before: [], after: [], atEnd: [] }
}

interface Registrar {
  (name: string, body: Body): void
  skip(name: string, body: Body): void
  skipIf(condition: unknown): (name: string, body: Body) => void
  each<T>(rows: readonly T[]): (name: string, body: (...row: unknown[]) => unknown) => void
}

function registrar(register: (name: string, body: Body, skipped: boolean) => void): Registrar {
  const all = (name: string, body: Body): void => register(name, body, false)
  const skip = (name: string, body: Body): void => register(name, body, true)
  return Object.assign(all, {
    skip,
    skipIf: (condition: unknown) => (condition ? skip : all),
    each:
      <T>(rows: readonly T[]) =>
      (name: string, body: (...row: unknown[]) => unknown) => {
        for (const row of rows) {
          const values: unknown[] = Array.isArray(row) ? row : [row]
          let next = 0
          all(
            name.replace(/%[a-z]/g, () => String(values[next++])),
            () => body(...values),
          )
        }
      },
  })
}

export const describe: Registrar = registrar((name, body, skipped) => {
  if (!skipped) current.suites.push(newSuite([...current.path, name], body))
})

export const it: Registrar = registrar((name, body, skipped) => {
  current.tests.push({ name, body, skipped })
})

export const test: Registrar = it

export function beforeEach(body: Body): void {
  current.before.push(body)
}

export function afterEach(body: Body): void {
  current.after.push(body)
}

export function beforeAll(body: Body): void {
  current.tests.push({ name: 'preparation', body, skipped: false })
}

export function afterAll(body: Body): void {
  current.atEnd.push(body)
}

/** Loads a file of tests, runs them, and gives each result to `report`. */
export async function runFile(
  name: string,
  load: () => Promise<unknown>,
  report: (result: TestResult) => Promise<void>,
): Promise<void> {
  await runSuite(newSuite([name], load), [], [], report)
}

async function runSuite(
  suite: Suite,
  before: readonly Body[],
  after: readonly Body[],
  report: (result: TestResult) => Promise<void>,
): Promise<void> {
  current = suite
  const failure = await failureOf(suite.body)
  if (failure !== undefined) await report({ path: [...suite.path, 'loads'], duration: 0, failure })
  const allBefore = [...before, ...suite.before]
  const allAfter = [...suite.after, ...after]
  for (const { name, body, skipped } of suite.tests) {
    const path = [...suite.path, name]
    if (skipped) {
      await report({ path, duration: 'skipped' })
      continue
    }
    const start = performance.now()
    let failed: string | undefined
    for (const step of [...allBefore, body, ...allAfter]) failed ??= await failureOf(step)
    await report({ path, duration: performance.now() - start, ...(failed === undefined ? {} : { failure: failed }) })
  }
  for (const inner of suite.suites) await runSuite(inner, allBefore, allAfter, report)
  for (const step of suite.atEnd) await step()
}

async function failureOf(step: Body): Promise<string | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined
  try {
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not done after ${longest / 1000} s`)), longest)
    })
    await Promise.race([step(), late])
    return undefined
  } catch (error) {
    return error instanceof Error ? (error.stack ?? error.message) : String(error)
  } finally {
    clearTimeout(timer)
  }
}
