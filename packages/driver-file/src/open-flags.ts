import { constants } from 'node:fs'

/**
 * Flags for opening whatever a name stands for: a FIFO or a terminal must neither hold the thread pool up nor become
 * the controlling terminal. Names that a system does not know count as 0.
 */
export function openFlags(writable: boolean, direct: boolean): number {
  const flags = (constants.O_NONBLOCK ?? 0) | (constants.O_NOCTTY ?? 0)
  return flags | (writable ? constants.O_RDWR : constants.O_RDONLY) | (direct ? (constants.O_DIRECT ?? 0) : 0)
}

/** The name by which a descriptor can be opened again with other flags, and be the same file for certain. */
export function descriptorPath(fd: number): string {
  return `/proc/self/fd/${fd}`
}
