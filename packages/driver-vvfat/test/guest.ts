import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Disk } from '@diskgraph/core'
import { bytesOf, run } from './support.ts'

const step = 512

/**
 * A guest of a disk: works with mtools on a copy, and writes what became of it, sector by sector as they stand, so that the
 * disk sees what a guest with a cache writes before it flushes.
 */
export class Guest {
  readonly #disk: Disk
  readonly #image: string
  readonly #offset: number

  /** `image`: a file for the copy; `offset`: where the volume begins. */
  constructor(disk: Disk, image: string, offset = 0) {
    this.#disk = disk
    this.#image = image
    this.#offset = offset
  }

  /** Runs commands of mtools, `['mdel', '::/file']`, and flushes what they wrote. */
  async do(...commands: (readonly string[])[]): Promise<void> {
    await this.write(...commands)
    await this.#disk.flush()
  }

  /** The same without a flush. */
  async write(...commands: (readonly string[])[]): Promise<void> {
    const before = await bytesOf(this.#disk, this.#offset)
    writeFileSync(this.#image, before)
    for (const [tool, ...args] of commands) await run(tool as string, '-i', this.#image, ...args)
    await this.put(before, readFileSync(this.#image))
  }

  /** Writes where `after` differs from `before`. */
  async put(before: Uint8Array, after: Uint8Array): Promise<void> {
    for (let at = 0; at < after.length; at += step) {
      const part = after.subarray(at, at + step)
      if (Buffer.compare(part, before.subarray(at, at + step)) !== 0) await this.#disk.write(this.#offset + at, part)
    }
  }

  /** What fsck.fat says of the disk as it is. Throws where it finds fault. */
  async check(): Promise<string> {
    writeFileSync(this.#image, await bytesOf(this.#disk, this.#offset))
    return run('fsck.fat', '-n', this.#image)
  }
}

/** All files below a directory, by their paths. */
export function holdings(dir: string): Record<string, string> {
  const names = readdirSync(dir, { recursive: true, encoding: 'utf8' }).sort()
  return Object.fromEntries(
    names.map((name) => [
      name,
      statSync(join(dir, name)).isDirectory() ? '/' : readFileSync(join(dir, name), 'latin1'),
    ]),
  )
}
