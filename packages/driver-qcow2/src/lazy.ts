/** What is seldom needed, loaded once. */
type Seldom = typeof import('./seldom.ts')

let loaded: Promise<Seldom> | undefined

/** Loads it at the first call, and tries again after a failure. */
export function seldom(): Promise<Seldom> {
  loaded ??= import('./seldom.ts').catch((error) => {
    loaded = undefined
    throw error
  })
  return loaded
}
