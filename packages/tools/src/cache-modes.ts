/** The cache modes of QEMU's command lines. */

/** What a cache mode stands for. */
export interface CacheMode {
  readonly direct: boolean
  readonly noFlush: boolean
  readonly writethrough: boolean
}

const cacheModes: Readonly<Record<string, CacheMode>> = {
  writeback: { direct: false, noFlush: false, writethrough: false },
  none: { direct: true, noFlush: false, writethrough: false },
  off: { direct: true, noFlush: false, writethrough: false },
  directsync: { direct: true, noFlush: false, writethrough: true },
  writethrough: { direct: false, noFlush: false, writethrough: true },
  unsafe: { direct: false, noFlush: true, writethrough: false },
}

/** The names of the cache modes. */
export const cacheModeNames: readonly string[] = Object.keys(cacheModes)

/** The cache mode called `name`; undefined if there is none. Commands word the error differently. */
export function cacheMode(name: string): CacheMode | undefined {
  return Object.hasOwn(cacheModes, name) ? cacheModes[name] : undefined
}
