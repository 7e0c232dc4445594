import { readFileSync } from 'node:fs'
import { defineConfig } from 'tsup'

/**
 * One configuration for every library package: `tsup --config ../../tsup.config.ts` in its folder.
 *
 * The entries are read from the package's own `exports`: `./dist/index.js` is built from `src/index.ts`. Packages of
 * the workspace stay imports, in the code and in the types, so that an interface which drivers extend by
 * `declare module '@diskgraph/core/driver'` is one interface for all of them. The types of those packages come from their
 * built declarations (turbo builds them first), as an installed copy's would.
 */
const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as { exports: unknown }
const outputs = JSON.stringify(manifest.exports).matchAll(/"\.\/dist\/([\w./-]+)\.js"/g)
const entries = [...new Set([...outputs].map(([, name]) => `src/${name}.ts`))]

export default defineConfig({
  entry: entries,
  format: ['esm'],
  target: 'node20',
  dts: { compilerOptions: { paths: {}, stripInternal: true } },
  external: [/^@diskgraph\//],
  clean: true,
  // A debugger steps through the TypeScript that is packed beside the code, so the maps need no copy of it.
  sourcemap: true,
  minify: false,
  esbuildOptions(options) {
    options.sourcesContent = false
  },
})
