/** The images that the comparison works on, made once per run in a temporary folder. */
import { execFileSync } from 'node:child_process'
import { closeSync, ftruncateSync, mkdirSync, openSync, readdirSync, readFileSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'

/** Names of the images in `folder`. */
export interface Images {
  /** Real binaries, `size` bytes, no zero runs worth speaking of. */
  readonly raw: string
  /** The same, qcow2. */
  readonly qcow2: string
  /** The same, qcow2 with compressed clusters. */
  readonly compressed: string
  /** A copy of `raw`. */
  readonly twin: string
  /** 100 GiB with 64 MiB of data strewn over it. */
  readonly sparse: string
  /** 64 GiB, every cluster mapped, nothing written. */
  readonly mapped: string
}

/** Makes the images with the real qemu-img, so that both sides read what neither of ours wrote. */
export function makeImages(folder: string, size: number): Images {
  mkdirSync(folder, { recursive: true })
  const path = (name: string): string => join(folder, name)
  const images: Images = {
    raw: path('binaries.raw'),
    qcow2: path('binaries.qcow2'),
    compressed: path('compressed.qcow2'),
    twin: path('twin.raw'),
    sparse: path('sparse.raw'),
    mapped: path('mapped.qcow2'),
  }
  writeBinaries(images.raw, size)
  const img = (...args: string[]): unknown => execFileSync('qemu-img', args, { stdio: ['ignore', 'ignore', 'inherit'] })
  img('convert', '-f', 'raw', '-O', 'qcow2', images.raw, images.qcow2)
  img('convert', '-c', '-W', '-m', '16', '-f', 'raw', '-O', 'qcow2', images.raw, images.compressed)
  img('convert', '-f', 'raw', '-O', 'raw', images.raw, images.twin)
  img('create', '-q', '-f', 'qcow2', '-o', 'preallocation=metadata', images.mapped, '64G')
  writeSparse(images.sparse, images.raw)
  return images
}

function writeBinaries(target: string, size: number): void {
  const fd = openSync(target, 'w')
  let left = size
  for (const file of binaries()) {
    if (left === 0) break
    const bytes = readFileSync(file).subarray(0, left)
    writeSync(fd, bytes)
    left -= bytes.length
  }
  closeSync(fd)
  if (left > 0) throw new Error(`this machine has too few programs to fill ${size} bytes`)
}

/** Programs and libraries of this machine, the large ones first; again and again until enough. */
function* binaries(): Generator<string> {
  const found: { file: string; size: number }[] = []
  for (const folder of ['/usr/bin', '/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/local/bin']) {
    for (const name of listFolder(folder)) {
      const file = join(folder, name)
      const stats = statSync(file, { throwIfNoEntry: false })
      if (stats?.isFile() && stats.size > 100_000 && stats.size < 2 ** 30) found.push({ file, size: stats.size })
    }
  }
  found.sort((a, b) => b.size - a.size)
  for (let round = 0; round < 8; round++) yield* found.map(({ file }) => file)
}

function listFolder(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}

function writeSparse(target: string, source: string): void {
  const fd = openSync(target, 'w')
  ftruncateSync(fd, 100 * 2 ** 30)
  const bytes = readFileSync(source).subarray(0, 64 * 2 ** 20)
  for (let i = 0; i < 64; i++) writeSync(fd, bytes, i * 2 ** 20, 2 ** 20, i * 1.5 * 2 ** 30)
  closeSync(fd)
}
