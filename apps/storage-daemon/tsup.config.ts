import { readFileSync } from 'node:fs'
import { defineConfig } from 'tsup'
import { notices } from '../../scripts/notices.mjs'

const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }

/**
 * Everything of the workspace bundled in, and a chunk of its own for each driver, so that only those are read that are
 * used. koffi is native and stays outside, the WebAssembly of zstd has a file of its own, and so does the console, which has files of its own. The code is as it is
 * written here, and the maps hold the sources, for they are those of many packages.
 */
export default defineConfig({
  entry: { daemon: 'src/daemon.ts', emulator: 'src/emulator/main.ts' },
  format: ['esm'],
  target: 'node20',
  splitting: true,
  treeshake: false,
  minify: false,
  sourcemap: true,
  noExternal: [/^@diskgraph\/(?!console)/],
  external: ['koffi', '@bokuweb/zstd-wasm', 'xz-decompress', '@diskgraph/console', 'cpu-features', /\.node$/],
  // ssh2 is CommonJS.
  shims: true,
  banner: {
    js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url)",
  },
  esbuildPlugins: [notices],
  clean: true,
  dts: false,
  define: { 'process.env.DISKGRAPH_VERSION': JSON.stringify(version) },
})
