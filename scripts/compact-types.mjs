/*
 * Takes the indentation out of the declarations in ./dist: no tool shows it, and it is a twentieth of their size.
 * Runs in the folder of a package, after tsup.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'

for (const name of readdirSync('dist').filter((one) => one.endsWith('.d.ts'))) {
  writeFileSync(`dist/${name}`, readFileSync(`dist/${name}`, 'utf8').replace(/^ +/gm, ''))
}
