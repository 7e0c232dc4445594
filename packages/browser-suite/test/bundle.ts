/**
 * Bundling for browsers as an application would: packages of the workspace are resolved by the conditions of their
 * `exports`, with sources in place of what is built from them. An import that a browser cannot have fails the build.
 */
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type BuildOptions, build, type OutputFile, type Plugin } from 'esbuild'

const packages = fileURLToPath(new URL('../..', import.meta.url))
const page = fileURLToPath(new URL('./page/', import.meta.url))

type Conditions = string | { readonly [condition: string]: Conditions }

/** What `exports` names for a browser: the first condition that applies, as bundlers choose. */
function choose(exports: Conditions | undefined): string | undefined {
  if (exports === undefined || typeof exports === 'string') return exports
  for (const [condition, inner] of Object.entries(exports)) {
    if (condition !== 'browser' && condition !== 'import' && condition !== 'default') continue
    const found = choose(inner)
    if (found !== undefined) return found
  }
  return undefined
}

/** The source file behind `@diskgraph/name` in a browser. */
export function browserSource(name: string): string {
  const folder = join(packages, name)
  const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { exports: { '.': Conditions } }
  const output = choose(manifest.exports['.'])
  const source = output === undefined ? '' : join(folder, output.replace('./dist/', 'src/').replace(/\.js$/, '.ts'))
  if (!existsSync(source)) throw new Error(`@diskgraph/${name} has no source for '${output}'`)
  return source
}

const workspace: Plugin = {
  name: 'workspace',
  setup(pluginBuild) {
    const kit = join(page, 'testkit.ts')
    pluginBuild.onResolve({ filter: /^@diskgraph\/[^/]+$/ }, ({ path, importer }) => {
      const ofTest = path === '@diskgraph/driver-testkit' && importer.includes('/test/') && importer !== kit
      return { path: ofTest ? kit : browserSource(path.slice('@diskgraph/'.length)), sideEffects: false }
    })
    pluginBuild.onResolve({ filter: /^vitest$/ }, () => ({ path: join(page, 'vitest.ts') }))
  },
}

const shared: BuildOptions & { readonly write: false } = {
  bundle: true,
  write: false,
  format: 'esm',
  platform: 'browser',
  target: 'es2022',
  conditions: ['browser', 'import'],
  mainFields: ['browser', 'module', 'main'],
  // What tests of the packages use of Node: settings of the environment, and processor time.
  define: { 'process.env': '{}', 'process.cpuUsage': 'cpuUsage' },
  plugins: [workspace],
  logLevel: 'silent',
}

/** The page with all suites, as file names and contents. */
export async function bundlePage(): Promise<Map<string, Uint8Array>> {
  const entryPoints = ['main.ts', 'worker.ts'].map((name) => join(page, name))
  const result = await build({ ...shared, entryPoints, splitting: true, outdir: '/' })
  return new Map(result.outputFiles.map(({ path, contents }) => [path, contents]))
}

/** What a page loads that imports `exported` from the package `name`, minified. */
export async function bundleAlone(name: string, exported: string): Promise<Uint8Array> {
  const contents = `import { ${exported} } from '@diskgraph/${name}'\nglobalThis.used = ${exported}\n`
  const result = await build({
    ...shared,
    define: {},
    minify: true,
    stdin: { contents, resolveDir: dirname(page), loader: 'ts' },
  })
  return (result.outputFiles[0] as OutputFile).contents
}
