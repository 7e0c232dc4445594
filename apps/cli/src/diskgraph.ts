/** The program `diskgraph`. Its code is loaded by a promise, as that of dg-img: so it is one file for all. */
const { startDiskgraph } = await import('./tools.ts')

await startDiskgraph()

export {}
