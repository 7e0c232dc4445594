import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type Disk, Graph } from '@diskgraph/core'
import { runTool } from '@diskgraph/driver-testkit'
import type { VvfatOptions } from '@diskgraph/driver-vvfat'
import { vvfat } from '@diskgraph/driver-vvfat'
import { afterAll } from 'vitest'

/** Where the partition of a hard disk begins, in bytes. */
export const partition = 63 * 512

/** A folder that the file's tests have for themselves; removed behind them. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'vvfat-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Makes files by their names; those that end in a slash are directories. */
export function fill(dir: string, files: Readonly<Record<string, string | Uint8Array>>): string {
  mkdirSync(dir, { recursive: true })
  for (const [name, content] of Object.entries(files)) {
    const path = join(dir, name)
    mkdirSync(name.endsWith('/') ? path : dirname(path), { recursive: true })
    if (!name.endsWith('/')) writeFileSync(path, content)
  }
  return dir
}

/** A directory, opened as a disk, with the graph that it is in and what it warned of. */
export interface Shown extends AsyncDisposable {
  readonly disk: Disk
  readonly warnings: string[]
}

/** Opens a directory as a disk. */
export async function show(options: VvfatOptions & { readOnly?: boolean }): Promise<Shown> {
  const warnings: string[] = []
  const graph = new Graph({ drivers: [vvfat], onWarning: (message) => warnings.push(message) })
  try {
    const disk = await graph.add({ driver: 'vvfat', readOnly: true, ...options })
    return { disk, warnings, [Symbol.asyncDispose]: () => graph.close() }
  } catch (error) {
    await graph.close()
    throw error
  }
}

/** All bytes from `offset` on. */
export async function bytesOf(disk: Disk, offset = 0): Promise<Uint8Array> {
  const bytes = new Uint8Array(disk.size - offset)
  const step = 2 ** 24
  for (let at = 0; at < bytes.length; at += step) await disk.read(offset + at, bytes.subarray(at, at + step))
  return bytes
}

/** Shows a directory once, and keeps the volume, without a partition table, in the file `image`. */
export async function volumeFile(options: VvfatOptions, image: string): Promise<string> {
  await using shown = await show(options)
  writeFileSync(image, await bytesOf(shown.disk, options.floppy === true ? 0 : partition))
  return image
}

/** What a tool says. Throws unless it ends well. */
export async function run(tool: string, ...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await runTool(tool, args, 60_000)
  if (status !== 0) throw new Error(`${tool} ${args.join(' ')}: ${status}\n${stdout}${stderr}`)
  return stdout
}
