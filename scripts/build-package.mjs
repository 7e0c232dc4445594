/*
 * Builds the package in the current folder: tsup makes code, maps and declarations, and then the declarations lose the
 * design notes that files open with. Those are for readers of `src/`; TSDoc of what is exported stays.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isProgram, runQuietly, toolScript } from './processes.mjs'
import { root } from './workspace.mjs'

/** A comment at the margin with an empty line behind it belongs to no declaration. */
const note = /^\/\*\*(?:(?!\*\/)[\s\S])*\*\/\n\n/gm

/** The declarations without comments that document none of them. */
export function withoutNotes(declarations) {
  return declarations.replace(note, '')
}

if (isProgram(import.meta.url)) {
  const cwd = process.cwd()
  runQuietly('build', process.execPath, [toolScript('tsup'), '--config', join(root, 'tsup.config.ts')], { cwd })
  for (const name of readdirSync('dist').filter((one) => one.endsWith('.d.ts'))) {
    const file = join('dist', name)
    writeFileSync(file, withoutNotes(readFileSync(file, 'utf8')))
  }
}
