import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { runPnpm } from './processes.mjs'
import { packages } from './workspace.mjs'

/** The packages that are published: all that are not private. */
export function publicPackages() {
  return packages().filter(({ manifest }) => manifest.private !== true)
}

/**
 * Packs packages of the workspace, which must be built, into `folder` as npm would publish them.
 * Answers the paths of the tarballs by package name.
 */
export function packInto(folder, names) {
  const filters = names.map((name) => `--filter=${name}`)
  runPnpm('pack', [...filters, '--recursive', 'pack', '--pack-destination', folder])
  const found = readdirSync(folder)
  return new Map(names.map((name) => [name, join(folder, tarballOf(name, found))]))
}

function tarballOf(name, files) {
  const stem = name.replace('@', '').replace('/', '-')
  const file = files.find((one) => one.startsWith(`${stem}-`) && /^\d/.test(one.slice(stem.length + 1)))
  if (!file) throw new Error(`pack: no tarball was made for '${name}'`)
  return file
}

/** The files in a tarball that pnpm or npm packed: name below the package, content, and the blocks that hold both. */
export function filesIn(tarball) {
  const tar = gunzipSync(readFileSync(tarball))
  const files = []
  for (let at = 0; tar[at] !== 0; ) {
    const header = tar.subarray(at, at + 512)
    const size = Number.parseInt(text(header, 124, 12), 8)
    const end = at + 512 + Math.ceil(size / 512) * 512
    const folder = text(header, 345, 155)
    const path = folder ? `${folder}/${text(header, 0, 100)}` : text(header, 0, 100)
    const content = tar.subarray(at + 512, at + 512 + size)
    files.push({ name: path.replace(/^package\//, ''), content, blocks: tar.subarray(at, end) })
    at = end
  }
  return files
}

/** A field of a header: text that ends with a zero byte, or with the field. */
function text(header, start, length) {
  const field = header.toString('latin1', start, start + length)
  return field.split('\0', 1)[0]
}
