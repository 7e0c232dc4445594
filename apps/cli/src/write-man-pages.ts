/** Writes the manual pages of all programs into `dist/man`. Run by the build, in the folder of the package. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { manPage } from './manual/man-page.ts'
import { programs } from './people/main.ts'

const folder = join('dist', 'man')

mkdirSync(folder, { recursive: true })
for (const program of programs) writeFileSync(join(folder, `${program.name}.1`), manPage(program, programs))
