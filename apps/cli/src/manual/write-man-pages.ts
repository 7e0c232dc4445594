/** Writes the manual pages of all programs into `dist/man`. Run by the build, in the folder of the package. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { programs } from '../people/main.ts'
import { manPage } from './man-page.ts'

const folder = join('dist', 'man')

mkdirSync(folder, { recursive: true })
for (const program of programs) writeFileSync(join(folder, `${program.name}.1`), manPage(program, programs))
