import { type Alignment, createAlignment } from './alignment.ts'
import { type CachedRead, createCachedRead } from './cached-read.ts'
import { type Copy, createCopy } from './copy.ts'
import { createDescriptors, type Descriptors } from './descriptors.ts'
import { createDevices, type Devices } from './devices.ts'
import { createDrives, type Drives } from './drives.ts'
import { createFileHints, type FileHints } from './file-hints.ts'
import { createHoles, type Holes } from './holes.ts'
import { type Libc, loadLibc } from './libc.ts'
import { createLocks, type Locks } from './locks.ts'

/** The system calls that Node lacks. */
export interface Posix extends Locks, Holes, CachedRead, Copy, Devices, Drives, Alignment, FileHints, Descriptors {
  /** The address of the first byte of `memory`. */
  address(memory: Uint8Array): bigint
}

let posix: Posix | null | undefined
let reason: string | undefined

/**
 * The native calls, or null where they are not available: another system than 64-bit Linux, `koffi` not installed,
 * or `DISKGRAPH_NATIVE=off` in the environment. The first call loads koffi (about 4 ms), later ones return the same.
 */
export function native(): Posix | null {
  if (posix === undefined) posix = load()
  return posix
}

/** Why {@link native} is null; undefined when it is not. */
export function nativeUnavailable(): string | undefined {
  native()
  return reason
}

function load(): Posix | null {
  if (process.env.DISKGRAPH_NATIVE === 'off') {
    reason = 'switched off by DISKGRAPH_NATIVE=off'
    return null
  }
  try {
    return createPosix(loadLibc())
  } catch (error) {
    const [message] = (error instanceof Error ? error.message : String(error)).split('\n')
    reason = message
    return null
  }
}

function createPosix(libc: Libc): Posix {
  return {
    ...createLocks(libc),
    ...createHoles(libc),
    ...createCachedRead(libc),
    ...createCopy(libc),
    ...createDevices(libc),
    ...createDrives(libc),
    ...createAlignment(libc),
    ...createFileHints(libc),
    ...createDescriptors(libc),
    address: libc.address,
  }
}
