import { readFileSync } from 'node:fs'
import { defineConfig } from 'tsup'

const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }

/**
 * One entry per command, everything of the workspace bundled in, and a chunk of its own for each driver and each
 * subcommand, so that a command reads from disk only what it runs. koffi is native and stays outside, the WebAssembly of zstd has a file of its own. The code is as
 * it is written here, and the maps hold the sources, for they are those of many packages.
 */
export default defineConfig({
  entry: { img: 'src/img.ts', io: 'src/io.ts', nbd: 'src/nbd.ts', diskgraph: 'src/diskgraph.ts' },
  format: ['esm'],
  target: 'node20',
  splitting: true,
  treeshake: false,
  minify: false,
  sourcemap: true,
  noExternal: [/^@diskgraph\//],
  external: ['koffi', '@bokuweb/zstd-wasm', 'xz-decompress'],
  clean: true,
  dts: false,
  define: { 'process.env.DISKGRAPH_VERSION': JSON.stringify(version) },
})
