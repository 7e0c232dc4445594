/**
 * A script that need not be compiled at each start.
 *
 * V8 takes longer to compile the programs than most commands run. What it has compiled when a command ends well is
 * kept in the user's cache folder, one file per command, and handed back to V8 by the next run. A file is taken only
 * when it belongs to the user, nobody else can write it, it was made from this script by this runtime, and its sum is
 * right (V8 does not look, and runs into loops on damaged code); everything else, and every error, only means that the
 * script is compiled again. NODE_DISABLE_COMPILE_CACHE=1 switches it off.
 */
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { homedir } from 'node:os'
import { dirname, isAbsolute, join } from 'node:path'
import { Script } from 'node:vm'
import { crc32 } from 'node:zlib'

/** A script that has been run. */
interface LoadedScript<Exports> {
  readonly exports: Exports
  /** Keeps what has been compiled until now, if it is not from there. */
  keep(): void
}

/** The `import()` of a file that is run as it is. */
export type ImportModule = (url: string) => Promise<unknown>

/** In front of the compiled code stand its sum and what it was made from, in so many bytes, which keep it aligned. */
const headLength = 256

const parameters = 'exports, require, module, __filename, __dirname, importModule'

/**
 * Runs the CommonJS script at `file`. `key` names what it is used for: each key has a cache of its own. The script sees
 * `importModule`, for code that comes out of a cache has no import() of its own.
 */
export function loadScript<Exports>(file: string, key: string, importModule: ImportModule): LoadedScript<Exports> {
  const require = createRequire(file)
  const bytes = readFileSync(file)
  const source = bytes.toString('latin1') // The build writes plain ASCII.
  const cache = cacheFile(key)
  const origin = originOf(file, bytes)
  const cachedData = cache === undefined ? undefined : attempt(() => readCache(cache, origin))
  const script = new Script(`(function (${parameters}) {${source}\n})`, { filename: file, cachedData })
  const module = { exports: {} }
  script.runInThisContext()(module.exports, require, module, file, dirname(file), importModule)
  const known = cachedData !== undefined && script.cachedDataRejected !== true
  return {
    exports: module.exports as Exports,
    keep() {
      if (cache !== undefined && !known) attempt(() => writeCache(cache, origin, script.createCachedData()))
    },
  }
}

/** Where the compiled code for `key` is; undefined where none is kept. */
function cacheFile(key: string): string | undefined {
  const { bun, deno } = process.versions
  if (bun !== undefined || deno !== undefined || process.env.NODE_DISABLE_COMPILE_CACHE) return undefined
  const { XDG_CACHE_HOME: given = '' } = process.env
  const base = isAbsolute(given) ? given : homedir()
  // A home that is another user's, as sudo may leave it, is not for us to write to.
  if (attempt(() => statSync(base).uid) !== (process.geteuid?.() ?? 0)) return undefined
  return join(base, base === given ? '' : '.cache', 'diskgraph', `${key}.compiled`)
}

/** What compiled code is of: its place, by a sum since it may be long, is part of the code, for it stands in stack traces. */
function originOf(file: string, source: Buffer): string {
  const { version, arch, env } = process
  return `${version} ${arch} ${env.DISKGRAPH_VERSION} ${source.length} ${crc32(source)} ${crc32(file)}`
}

function readCache(file: string, origin: string): Buffer | undefined {
  // A pipe that stands there would be waited for.
  const descriptor = openSync(file, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0))
  try {
    const stat = fstatSync(descriptor)
    const { uid, mode } = stat
    if (!stat.isFile()) return undefined
    if (process.geteuid !== undefined && (uid !== process.geteuid() || (mode & 0o022) !== 0)) return undefined
    const content = readFileSync(descriptor)
    const compiled = content.subarray(headLength)
    return content.subarray(0, headLength).equals(headOf(origin, compiled)) ? compiled : undefined
  } finally {
    closeSync(descriptor)
  }
}

/** One at a time: where none can be made (below /proc), making all of a path at once never ends. */
function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, 0o700)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}

function writeCache(file: string, origin: string, compiled: Buffer): void {
  const unfinished = `${file}-${process.pid}`
  makeFolder(dirname(dirname(file)))
  makeFolder(dirname(file))
  const descriptor = openSync(unfinished, 'wx', 0o600)
  try {
    writeSync(descriptor, Buffer.concat([headOf(origin, compiled), compiled]))
    fsyncSync(descriptor)
    renameSync(unfinished, file)
  } catch (error) {
    rmSync(unfinished, { force: true })
    throw error
  } finally {
    closeSync(descriptor)
  }
}

function headOf(origin: string, compiled: Buffer): Buffer {
  const head = Buffer.alloc(headLength)
  head.write(`${crc32(compiled)} ${origin}\n`, 'latin1')
  return head
}

/** What `work` returns; undefined when it fails, for all of this is only about time. */
function attempt<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch {
    return undefined
  }
}
