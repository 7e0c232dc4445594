/** The version of this package; tsup puts in the one of package.json. */
export const version: string = process.env.DISKGRAPH_VERSION ?? '0.0.0'

/** The version of QEMU's daemon whose command line this follows. */
export const compatibleVersion = '7.2.22'
