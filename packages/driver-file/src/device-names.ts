import { stat } from 'node:fs/promises'

/** Whether a path leads to a block device, which `host_device` opens and `file` refuses. False when it leads nowhere. */
export async function isBlockDevice(filename: string): Promise<boolean> {
  try {
    return (await stat(filename)).isBlockDevice()
  } catch {
    return false
  }
}
