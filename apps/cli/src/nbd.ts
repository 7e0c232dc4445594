/** The program `dg-nbd`. Its code is loaded by a promise, as that of dg-img: so it is one file for all. */
const { startNbd } = await import('./tools.ts')

await startNbd()

export {}
