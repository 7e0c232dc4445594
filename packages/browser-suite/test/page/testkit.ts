/** What the test files of the packages import as the kit, in a page. */
export * from '@diskgraph/driver-testkit'

/** A page has no files: the same tests in Node hold the examples of the READMEs to them. */
export function mustShowExample(): void {}
