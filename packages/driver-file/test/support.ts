import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { CreateContext, OpenContext, OpenImage } from '@diskgraph/core/driver'
import { native } from '@diskgraph/posix'
import { afterAll } from 'vitest'
import { file, hostCdrom, hostDevice, hostFloppy } from '../src/index.ts'

/** Whether the tests of native access can run. */
export const hasNative = native() !== null

/** Whether tests against the real tools run: these are there, or may not be missing (the tests fail then). */
export const hasQemu =
  process.env.DISKGRAPH_REQUIRE_PEERS === '1' || (existsSync('/usr/bin/qemu-img') && existsSync('/usr/bin/qemu-nbd'))

/** A folder for the tests of one file; it is removed after them. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'diskgraph-file-'))
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** What a test may set of the context. */
export interface ContextOverrides {
  driver?: 'file' | 'host_device' | 'host_cdrom' | 'host_floppy'
  readOnly?: boolean
  autoReadOnly?: boolean
  direct?: boolean
  contain?: string
  warnings?: string[]
  locking?: 'auto' | 'on' | 'off'
}

/** An image opened by the driver itself, with all its methods known. */
export type Opened = Required<Omit<OpenImage, 'permissions'>> &
  Pick<OpenImage, 'permissions' | 'writeZeroes' | 'discard'>

/** Opens `filename` as the core would. */
export async function openImage(filename: string, overrides: ContextOverrides = {}): Promise<Opened> {
  const driver = [file, hostDevice, hostCdrom, hostFloppy].find(({ name }) => name === (overrides.driver ?? 'file'))
  let readOnly = overrides.readOnly ?? false
  const autoReadOnly = overrides.autoReadOnly ?? false
  const context = {
    options: { filename, locking: overrides.locking ?? 'auto', dropCache: true },
    nodeName: 'node',
    get readOnly() {
      return readOnly
    },
    autoReadOnly,
    cache: { direct: overrides.direct ?? false, noFlush: false },
    contain: overrides.contain,
    signal: undefined,
    becomeReadOnly: () => {
      readOnly = true
    },
    warn: (message: string) => overrides.warnings?.push(message),
  } as unknown as OpenContext
  return (await driver?.open(context)) as Opened
}

/** Creates `filename` as the core would. */
export async function createImage(
  options: { filename: string; size: number; preallocation?: string; nocow?: boolean; extentSizeHint?: number },
  settings: { warnings?: string[]; signal?: AbortSignal; driver?: 'file' | 'host_device' } = {},
): Promise<void> {
  const driver = settings.driver === 'host_device' ? hostDevice : file
  const context = {
    options: { preallocation: 'off', nocow: false, ...options },
    children: undefined,
    signal: settings.signal,
    warn: (message: string) => settings.warnings?.push(message),
  } as unknown as CreateContext
  await driver.create?.(context)
}

/** `length` bytes that tell their position. */
export function pattern(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let i = 0; i < length; i++) bytes[i] = i * 7 + (i >>> 8) * 13 + seed
  return bytes
}

/** A folder on a file system of `size` bytes of its own, and the way to get rid of it; undefined without the right to mount. */
export function smallFileSystem(folder: string, size: number): { folder: string; remove(): void } | undefined {
  const point = join(folder, 'small')
  mkdirSync(point)
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', point]).status !== 0) return undefined
  return { folder: point, remove: () => spawnSync('umount', ['--lazy', point]) }
}
