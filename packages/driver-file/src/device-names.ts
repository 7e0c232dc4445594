import { statPath } from './calls.ts'

/** The drivers of devices. */
export type DeviceKind = 'host_device' | 'host_cdrom' | 'host_floppy'

/** Numbers of Linux's kinds of block devices, from its list `devices.txt`. */
const floppyDisks = 2
const scsiCdroms = 11

/** Which driver opens the device that a path leads to, and `file` refuses; undefined where it leads to none. */
export async function deviceKind(filename: string): Promise<DeviceKind | undefined> {
  try {
    const stats = await statPath(filename)
    if (stats.isCharacterDevice()) return 'host_device'
    if (!stats.isBlockDevice()) return undefined
    const number = process.platform === 'linux' ? Math.floor(stats.rdev / 256) % 4096 : undefined
    return number === scsiCdroms ? 'host_cdrom' : number === floppyDisks ? 'host_floppy' : 'host_device'
  } catch {
    return undefined
  }
}
