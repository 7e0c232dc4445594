import { execFileSync } from 'node:child_process'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Bundles the page of the sources into a folder that the caller removes. */
export async function buildPage(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'diskgraph-console-'))
  execFileSync(process.execPath, [fileURLToPath(new URL('../build-page.mjs', import.meta.url)), folder])
  return folder
}
