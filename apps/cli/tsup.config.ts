import { readFileSync } from 'node:fs'
import { defineConfig } from 'tsup'

const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }

/**
 * All programs are one CommonJS script with everything of the workspace in it: what V8 compiles of it can be kept
 * from one run to the next (src/compiled-script.ts). Modules that are imported where they are needed are run then.
 * What stays outside is required, for such a script has no import().
 * koffi is native and stays outside, the WebAssembly of zstd has a file of its own. Names stay as they are written
 * here, and the maps hold the sources, for they are those of many packages.
 */
export default defineConfig({
  entry: { start: 'src/start.ts', tools: 'src/tools.ts' },
  format: ['cjs'],
  outExtension: () => ({ js: '.cjs' }),
  target: 'node20',
  shims: true,
  splitting: false,
  treeshake: false,
  sourcemap: true,
  noExternal: [/^@diskgraph\//],
  external: ['koffi', '@bokuweb/zstd-wasm', 'xz-decompress'],
  clean: true,
  dts: false,
  define: { 'process.env.DISKGRAPH_VERSION': JSON.stringify(version) },
  esbuildOptions(options) {
    options.minifyWhitespace = true
    options.minifySyntax = true
    options.supported = { 'dynamic-import': false }
  },
})
