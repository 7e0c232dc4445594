/** Variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>

/** Those of the process; none where there is no process, in browsers. */
export function environment(): Environment {
  return (globalThis as { process?: { env: Environment } }).process?.env ?? {}
}
