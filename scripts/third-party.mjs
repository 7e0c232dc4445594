/*
 * A driver of somebody else: the example of docs/writing-a-driver.md, made into a package in a folder outside the
 * workspace, beside what is installed from the packed tarballs. It must compile in a typed stack, refuse a wrong one,
 * read through that stack, and work by name in `dg-img`, but only where `--driver` enables it. The programs of
 * `examples` must compile there, too, and print what they promise.
 */
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runNpm, runQuietly, toolScript } from './processes.mjs'
import { packInto } from './tarballs.mjs'
import { packages, readManifest, root } from './workspace.mjs'

const examples = readManifest(root, 'examples')
const wanted = withDependencies([...Object.keys(examples.devDependencies), '@diskgraph/posix', 'diskgraph'])
const stack = `
import { Graph } from '@diskgraph/core'
import { file } from '@diskgraph/driver-file'
import { xor } from 'diskgraph-driver-xor'

await using graph = new Graph({ drivers: [file, xor] })
const disk = await graph.add({ driver: 'xor', key: 7, file: { driver: 'file', filename: 'plain.img' } })
const buf = new Uint8Array(4)
await disk.read(0, buf)
console.log([...buf].join(' '))

export async function wrong(): Promise<void> {
  // @ts-expect-error the key is a number
  await graph.add({ driver: 'xor', key: 'seven', file: { driver: 'file', filename: 'plain.img' } })
}
`

const folder = mkdtempSync(join(tmpdir(), 'diskgraph-third-party-'))
try {
  const tarballs = packInto(folder, wanted)
  const driver = writeDriver(join(folder, 'driver'), tarballs.get('@diskgraph/core'))
  compile(driver)
  const app = join(folder, 'app')
  mkdirSync(app)
  writeJson(join(app, 'package.json'), { private: true, type: 'module' })
  runNpm(
    'install',
    ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--install-links', ...tarballs.values(), driver],
    app,
  )
  writeFileSync(join(app, 'stack.ts'), stack)
  compile(app)
  const programs = copyExamples(join(app, 'examples'))
  compile(join(app, 'examples'), ['node'])
  writeFileSync(join(app, 'plain.img'), new Uint8Array(1024).fill(1))
  expect('the typed stack', runQuietly('stack', process.execPath, ['stack.js'], { cwd: app }).trim(), '6 6 6 6')
  const images = ['--image-opts', 'driver=xor,key=7,file.driver=file,file.filename=plain.img']
  const run = (...words) => runQuietly('dg-img', process.execPath, [bin(app), ...words], { cwd: app })
  const info = run('--driver', 'xor', 'info', ...images)
  expect('dg-img info', /^file format: xor$/m.test(info) && /^virtual size: 1 KiB \(1024 bytes\)$/m.test(info), true)
  expect(
    'dg-img without --driver',
    fails(() => run('info', ...images)),
    true,
  )
  for (const name of programs) runExample(join(app, 'examples'), name)
  process.stdout.write(`${programs.length} examples print what they promise\n`)
  process.stdout.write('a driver from outside works in a typed stack and by name in dg-img\n')
} finally {
  rmSync(folder, { recursive: true, force: true })
}

/** The package of the documented driver; its code is the page's first block. */
function writeDriver(target, core) {
  const page = readFileSync(join(root, 'docs', 'writing-a-driver.md'), 'utf8')
  const code = /```ts\n([\s\S]*?)```/.exec(page)[1]
  mkdirSync(join(target, 'src'), { recursive: true })
  writeFileSync(join(target, 'src', 'index.ts'), code)
  writeJson(join(target, 'package.json'), {
    name: 'diskgraph-driver-xor',
    version: '1.0.0',
    type: 'module',
    exports: { '.': { types: './src/index.d.ts', default: './src/index.js' } },
    peerDependencies: { '@diskgraph/core': '*' },
  })
  runNpm('install core', ['install', '--ignore-scripts', '--no-save', '--no-audit', '--no-fund', core], target)
  return target
}

function copyExamples(target) {
  mkdirSync(target)
  const source = join(root, 'examples')
  const names = readdirSync(source).filter((name) => name.endsWith('.ts'))
  for (const name of names) copyFileSync(join(source, name), join(target, name))
  return names
}

/** Runs an example in a folder of its own: it must print the comment at its end. */
function runExample(folder, name) {
  const cwd = join(folder, `in-${name}`)
  mkdirSync(cwd)
  const printed = runQuietly(name, process.execPath, [join(folder, name.replace(/ts$/, 'js'))], { cwd })
  const promised = readFileSync(join(folder, name), 'utf8').trimEnd().split('\n\n').at(-1)
  expect(name, printed.trimEnd().replaceAll(/^/gm, '// '), promised)
}

/** Compiles every module of `target` in place, with `types` in scope: what is published needs none. */
function compile(target, types = []) {
  writeJson(join(target, 'tsconfig.json'), {
    compilerOptions: {
      target: 'ES2022',
      module: 'NodeNext',
      lib: ['ES2023', 'ESNext.Disposable', 'DOM'],
      strict: true,
      declaration: true,
      skipLibCheck: false,
      types,
      typeRoots: [join(root, 'node_modules', '@types')],
    },
    exclude: ['node_modules'],
  })
  runQuietly('tsc', process.execPath, [toolScript('typescript', 'tsc'), '-p', target])
}

function fails(run) {
  try {
    run()
    return false
  } catch {
    return true
  }
}

function bin(app) {
  return join(app, 'node_modules', 'diskgraph', 'bin', 'dg-img.js')
}

function writeJson(path, value) {
  writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`)
}

function expect(what, got, right) {
  if (got !== right) throw new Error(`${what}: ${JSON.stringify(got)} instead of ${JSON.stringify(right)}`)
}

/** The packages called `names` and those of the workspace that they need. */
function withDependencies(names) {
  const manifests = new Map(packages().map(({ manifest }) => [manifest.name, manifest]))
  const found = new Set()
  const add = (name) => {
    const manifest = manifests.get(name)
    if (manifest === undefined || found.has(name)) return
    found.add(name)
    for (const needed of Object.keys(manifest.dependencies ?? {})) add(needed)
  }
  for (const name of names) add(name)
  return [...found]
}
