import { statPath } from './calls.ts'

/** Whether a path leads to a device, which `host_device` opens and `file` refuses. False when it leads nowhere. */
export async function isDevice(filename: string): Promise<boolean> {
  try {
    const stats = await statPath(filename)
    return stats.isBlockDevice() || stats.isCharacterDevice()
  } catch {
    return false
  }
}
