/*
 * `npm start`: sets the workspace up and runs the storage daemon with its demonstration, in a new folder of the system's
 * place for temporary files. With arguments (`npm start -- tour`, `npm start -- info disk.qcow2`) it runs the command
 * `diskgraph` with them instead, in the folder where the person typed it.
 */
import { existsSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runInForeground } from './processes.mjs'
import { setUp } from './setup.mjs'
import { packages, root } from './workspace.mjs'

try {
  setUp()
  const args = process.argv.slice(2)
  const line =
    args.length > 0
      ? [commandFile('diskgraph'), ...args]
      : [commandFile('dg-storage-daemon'), '--demo', mkdtempSync(join(tmpdir(), 'diskgraph-demo-'))]
  process.exitCode = await runInForeground(process.execPath, line, { cwd: startFolder() })
} catch (error) {
  process.stderr.write(`${error.message}\n`)
  process.exitCode = 1
}

/** The link in node_modules/.bin, which carries the command's name; on Windows, where that is a script, its target. */
function commandFile(name) {
  const link = join(root, 'node_modules', '.bin', name)
  if (process.platform !== 'win32' && existsSync(link)) return link
  const owner = packages().find(({ manifest }) => manifest.bin?.[name])
  if (!owner) throw new Error(`no package of this workspace has the command '${name}'`)
  return join(root, owner.folder, owner.manifest.bin[name])
}

/** npm runs scripts in the folder of package.json and leaves the person's own folder in INIT_CWD. */
function startFolder() {
  return process.env.npm_lifecycle_event === 'start' ? (process.env.INIT_CWD ?? process.cwd()) : process.cwd()
}
