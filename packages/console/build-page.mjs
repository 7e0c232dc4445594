/** `node build-page.mjs FOLDER`: bundles the page into a folder: `index.html`, `console.css`, `console.js`, its map, and notices. */
import { copyFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { notices } from '../../scripts/notices.mjs'

const source = fileURLToPath(new URL('./src/page/', import.meta.url))
const [, , folder] = process.argv
if (folder === undefined) throw new Error('build-page.mjs FOLDER')

mkdirSync(folder, { recursive: true })
await build({
  entryPoints: [join(source, 'console.tsx')],
  outfile: join(folder, 'console.js'),
  bundle: true,
  format: 'esm',
  target: 'es2022',
  platform: 'browser',
  minify: true,
  sourcemap: true,
  legalComments: 'none',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  plugins: [notices],
})
for (const name of ['index.html', 'console.css']) copyFileSync(join(source, name), join(folder, name))
