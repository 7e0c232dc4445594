/*
 * `npm start`: sets the workspace up and runs the `diskgraph` command, in the folder where the person typed it.
 * Without arguments it gives the tour; with arguments (`npm start -- info disk.qcow2`) they are the command's.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { runInForeground } from './processes.mjs'
import { setUp } from './setup.mjs'
import { packages, root } from './workspace.mjs'

try {
  setUp()
  const args = process.argv.length > 2 ? process.argv.slice(2) : ['tour']
  process.exitCode = await runInForeground(process.execPath, [commandFile(), ...args], { cwd: startFolder() })
} catch (error) {
  process.stderr.write(`${error.message}\n`)
  process.exitCode = 1
}

/** The link in node_modules/.bin, which carries the command's name; on Windows, where that is a script, its target. */
function commandFile() {
  const link = join(root, 'node_modules', '.bin', 'diskgraph')
  if (process.platform !== 'win32' && existsSync(link)) return link
  const owner = packages().find(({ manifest }) => manifest.bin?.diskgraph)
  if (!owner) throw new Error("no package of this workspace has the command 'diskgraph'")
  return join(root, owner.folder, owner.manifest.bin.diskgraph)
}

/** npm runs scripts in the folder of package.json and leaves the person's own folder in INIT_CWD. */
function startFolder() {
  return process.env.npm_lifecycle_event === 'start' ? (process.env.INIT_CWD ?? process.cwd()) : process.cwd()
}
