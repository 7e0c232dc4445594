/** Programs of this package as processes, run from their sources. */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const sources = new URL('../src/', import.meta.url)
const root = fileURLToPath(new URL('../../..', import.meta.url))

/** Starts `src/<program>` with `words`. End it. */
export function startSource(program: string, words: readonly string[], stdio: StdioOptions = 'pipe'): ChildProcess {
  return spawn(process.execPath, ['--import', 'tsx', fileURLToPath(new URL(program, sources)), ...words], {
    cwd: root,
    env: { ...process.env, TSX_TSCONFIG_PATH: `${root}tsconfig.json` },
    stdio,
  })
}
