/** Images made with the real tools, for tests that change them. */
import { readFileSync } from 'node:fs'
import { type Folder, run } from './images.ts'

/** What is made, and what it is amended to. */
export interface Case {
  readonly name: string
  /** For qemu-img create. */
  readonly create?: string
  readonly snapshot?: boolean
  readonly backing?: boolean
  readonly writes?: readonly string[]
  readonly amend: Readonly<Record<string, string | number | boolean>>
}

/** Makes the image of a case with the real tools. */
export function prepare(folder: Folder, name: string, { create, snapshot, backing, writes = [] }: Case): void {
  const options = create === undefined ? [] : ['-o', create]
  if (backing === true) {
    run('qemu-img', 'create', '-q', '-f', 'raw', folder.file('base'), '1M')
    run('qemu-io', '-f', 'raw', '-c', 'write -P 7 0 1M', folder.file('base'))
    options.push('-b', folder.file('base'), '-F', 'raw')
  }
  run('qemu-img', 'create', '-q', '-f', 'qcow2', ...options, name, '1M')
  run('qemu-io', '-f', 'qcow2', '-c', 'write -P 1 0 200k', ...writes.flatMap((write) => ['-c', write]), name)
  if (snapshot === true) run('qemu-img', 'snapshot', '-c', 'one', name)
  if (snapshot === true) run('qemu-io', '-f', 'qcow2', '-c', 'write -P 2 700k 100k', name)
}

/** What the disk, or a snapshot, holds. */
export function raw(folder: Folder, name: string, ...options: string[]): Buffer {
  run('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', ...options, name, folder.file('raw'))
  return readFileSync(folder.file('raw'))
}
