import { statPath } from './calls.ts'

/** Whether a path leads to a block device, which `host_device` opens and `file` refuses. False when it leads nowhere. */
export async function isBlockDevice(filename: string): Promise<boolean> {
  try {
    return (await statPath(filename)).isBlockDevice()
  } catch {
    return false
  }
}
