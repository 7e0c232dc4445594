/** The programs as they are packed, for tests that start them. */
import { spawnSync } from 'node:child_process'
import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Programs that were built for one test file; {@link BuiltPrograms.remove} takes them away. */
export class BuiltPrograms {
  readonly #folder: string

  constructor(name: string) {
    const packageFolder = fileURLToPath(new URL('..', import.meta.url))
    // Inside the package, so that koffi is found from there.
    this.#folder = join(packageFolder, 'node_modules', '.cache', `${name}-${process.pid}`)
    const tsup = fileURLToPath(new URL('../../../node_modules/tsup/dist/cli-default.js', import.meta.url))
    const result = spawnSync(process.execPath, [tsup, '--silent', '--out-dir', join(this.#folder, 'dist')], {
      cwd: packageFolder,
      encoding: 'utf8',
    })
    if (result.status !== 0) throw new Error(`the programs cannot be built: ${result.stdout}${result.stderr}`)
    cpSync(join(packageFolder, 'bin'), join(this.#folder, 'bin'), { recursive: true })
  }

  /** The script of a program. */
  script(name: string): string {
    return join(this.#folder, 'bin', `${name}.js`)
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
