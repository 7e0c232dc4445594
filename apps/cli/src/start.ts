/** What the files in `bin/` call: starts a program out of the one script that holds all of them. */
import { join } from 'node:path'
import { type ImportModule, loadScript } from './compiled-script.ts'
import { programName } from './program-name.ts'
import type * as Tools from './tools.ts'
import { versionLine } from './version.ts'

type Programs = typeof Tools.programs

/** Runs `program` in this process. */
export async function start(program: keyof Programs, importModule: ImportModule): Promise<void> {
  const [, calledBy = 'dg-img', word = ''] = process.argv
  // Who asks dg-img for its version gets it before anything else is loaded.
  if (program === 'img' && (word === '--version' || word === '-V')) {
    process.stdout.write(versionLine(programName(calledBy)))
    return
  }
  const script = loadScript<typeof Tools>(join(__dirname, 'tools.cjs'), keyOf(program, word), importModule)
  await script.exports.programs[program]()
  if (process.exitCode === 0) script.keep()
}

/** Commands of one program need different parts of it. A word that is no command ends in an error, and keeps nothing. */
function keyOf(program: keyof Programs, word: string): string {
  const hasCommands = program === 'img' || program === 'diskgraph'
  return hasCommands && /^[a-z-]{1,20}$/.test(word) ? `${program}-${word}` : program
}
