import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Disk, Graph } from '@diskgraph/core'
import { file } from '@diskgraph/driver-file'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { raw } from '@diskgraph/driver-raw'

/** Whether the real tools are installed. */
export const haveQemu = existsSync('/usr/bin/qemu-img') && existsSync('/usr/bin/qemu-io')

/** A temporary folder that `dispose` removes. */
export class Folder {
  readonly path = mkdtempSync(join(tmpdir(), 'diskgraph-qcow2-'))

  file(name: string): string {
    return join(this.path, name)
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}

/** A graph with the drivers that the tests use. */
export function newGraph(warnings: string[] = []): Graph {
  return new Graph({
    drivers: [file, raw, qcow2],
    references: 'allow',
    onWarning: (text: string) => warnings.push(text),
  })
}

/** Opens an image of a graph read-write. */
export function open(graph: Graph, filename: string, options: Record<string, unknown> = {}): Promise<Disk> {
  return graph.addUnchecked({ driver: 'qcow2', file: { driver: 'file', filename, locking: 'off' }, ...options })
}

/** Creates an image. */
export async function create(graph: Graph, filename: string, options: Record<string, unknown>): Promise<void> {
  await graph.createUnchecked({ driver: 'qcow2', file: { driver: 'file', filename }, ...options })
}

/** Runs a tool; throws with its output when it fails. */
export function run(program: string, ...args: string[]): string {
  return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], timeout: 30_000 })
}

/** Exit code and output of `qemu-img check`. */
export function qemuCheck(filename: string): { code: number; output: string } {
  const result = spawnSync('qemu-img', ['check', '-f', 'qcow2', filename], { encoding: 'utf8', timeout: 30_000 })
  return { code: result.status ?? -1, output: result.stdout + result.stderr }
}
