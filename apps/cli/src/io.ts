/** The program `dg-io`. Its code is loaded by a promise, as that of dg-img: so it is one file for all. */
const { startIo } = await import('./tools.ts')

await startIo()

export {}
