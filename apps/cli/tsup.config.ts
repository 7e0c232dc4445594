import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { defineConfig, type Options } from 'tsup'
import { notices } from '../../scripts/notices.mjs'

type PluginBuild = Parameters<NonNullable<Options['esbuildPlugins']>[number]['setup']>[0]

const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }

const fromSsh = createRequire(new URL('../../packages/driver-ssh/package.json', import.meta.url))

/** Libraries that are loaded by themselves are files of their own: the script of the programs stays small. */
const apart = {
  name: 'apart',
  setup({ onResolve }: PluginBuild) {
    onResolve({ filter: /^ssh2$/ }, () => ({ path: './ssh2.cjs', external: true }))
  },
}

/**
 * All programs are one CommonJS script with everything of the workspace in it: what V8 compiles of it can be kept
 * from one run to the next (src/compiled-script.ts). Modules that are imported where they are needed are run then.
 * What stays outside is required, for such a script has no import().
 * koffi is native and stays outside, the WebAssembly of zstd has a file of its own. Names stay as they are written
 * here, and the maps hold the sources, for they are those of many packages.
 */
export default defineConfig({
  entry: { start: 'src/start.ts', tools: 'src/tools.ts', ssh2: fromSsh.resolve('ssh2') },
  format: ['cjs'],
  outExtension: () => ({ js: '.cjs' }),
  target: 'node20',
  shims: true,
  splitting: false,
  treeshake: false,
  sourcemap: true,
  noExternal: [/^@diskgraph\//],
  external: ['koffi', '@bokuweb/zstd-wasm', 'xz-decompress', 'cpu-features', /\.node$/],
  esbuildPlugins: [apart, notices],
  clean: true,
  dts: false,
  define: { 'process.env.DISKGRAPH_VERSION': JSON.stringify(version) },
  esbuildOptions(options) {
    options.minifyWhitespace = true
    options.minifySyntax = true
    options.supported = { 'dynamic-import': false }
  },
})
