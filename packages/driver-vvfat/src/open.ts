import { BlockError, type OpenContext, type OpenImage, toBlockError } from '@diskgraph/core/driver'
import type { FatType } from './disk/geometry.ts'
import { HostFiles } from './host/files.ts'
import { Folder } from './host/folder.ts'
import { scan } from './host/scan.ts'
import { VvfatImage } from './image.ts'
import type { VvfatOptions } from './options.ts'
import { layOut } from './volume.ts'
import { WritableVvfatImage } from './write/image.ts'
import { Overlay } from './write/overlay.ts'

const labelSize = 11
const usualLabel = 'QEMU VVFAT'

/** Opens a directory as a disk. */
export async function openDirectory(context: OpenContext<VvfatOptions>): Promise<OpenImage> {
  const { dir, floppy = false, fatType = 0, rw = false } = context.options
  if (dir === undefined) throw new BlockError('EINVAL', "vvfat block driver requires a 'dir' option")
  if (!isFatType(fatType)) throw new BlockError('EINVAL', 'Valid FAT types are only 12, 16 and 32')
  if (rw && context.readOnly) {
    throw new BlockError('EACCES', "Unable to set VVFAT to 'rw' when drive is read-only")
  }
  const label = labelBytes(context.options.label ?? usualLabel)
  const root = await Folder.open(dir).catch((error) => {
    throw toBlockError(error, `Could not read directory ${dir}`)
  })
  try {
    const tree = await scan(root, { links: !rw, signal: context.signal, warn: context.warn })
    const volume = layOut(tree, { fatType, floppy, label })
    const files = new HostFiles(root)
    if (!rw) return new VvfatImage(root, files, volume)
    return new WritableVvfatImage(root, files, volume, await Overlay.make(), context.warn)
  } catch (error) {
    await root.close()
    throw toBlockError(error, `Could not read directory ${dir}`)
  }
}

function isFatType(type: number): type is FatType | 0 {
  return type === 0 || type === 12 || type === 16 || type === 32
}

/** A label as it stands on the disk. EINVAL if it is too long. */
function labelBytes(label: string): Uint8Array {
  const bytes = new TextEncoder().encode(label)
  if (bytes.length > labelSize) throw new BlockError('EINVAL', 'vvfat label cannot be longer than 11 bytes')
  const padded = new Uint8Array(labelSize).fill(0x20)
  padded.set(bytes)
  return padded
}
