/** The drives of media that can be taken out. */
import { BlockError, type RemovableMedium } from '@diskgraph/core/driver'
import type { Drives } from '@diskgraph/posix'
import { fileError, isUnsupported, systemCode } from './errors.ts'

/** The descriptor changes when the image is opened again. */
interface Device {
  readonly fd: number
  readonly filename: string
  /** Asks for the size of another medium. */
  invalidateCache(): Promise<void>
}

abstract class Drive implements RemovableMedium {
  protected readonly drives: Drives
  protected readonly device: Device
  readonly #listeners = new Set<() => void>()
  #locked = false

  constructor(drives: Drives, device: Device) {
    this.drives = drives
    this.device = device
  }

  abstract readonly inserted: boolean

  /** A drive without a tray has nothing to close. */
  protected abstract move(open: boolean): Promise<void>

  protected abstract setLock(locked: boolean): void

  get locked(): boolean {
    return this.#locked
  }

  async eject(open: boolean): Promise<void> {
    const { filename } = this.device
    const attempt = `cannot ${open ? 'open' : 'close'} the drive '${filename}'`
    if (open && this.#locked) throw new BlockError('EBUSY', `${attempt}: it is locked`)
    await this.move(open).catch((error) => {
      throw driveError(error, attempt)
    })
    // An empty drive may have no size to tell.
    if (!open) await this.device.invalidateCache()
    for (const listener of this.#listeners) listener()
  }

  async lock(locked: boolean): Promise<void> {
    try {
      this.setLock(locked)
    } catch (error) {
      throw driveError(error, `cannot ${locked ? 'lock' : 'unlock'} the drive '${this.device.filename}'`)
    }
    this.#locked = locked
  }

  onChange(listener: () => void): () => void {
    const own = (): void => listener()
    this.#listeners.add(own)
    return () => this.#listeners.delete(own)
  }
}

/** A drive for compact discs, or what is opened as one: that has a medium always. */
export class CdromDrive extends Drive {
  get inserted(): boolean {
    try {
      return this.drives.discStatus(this.device.fd) === 'unknown'
    } catch {
      return true
    }
  }

  protected move(open: boolean): Promise<void> {
    return this.drives.moveTray(this.device.fd, open)
  }

  protected setLock(locked: boolean): void {
    this.drives.lockTray(this.device.fd, locked)
  }
}

/** A drive for floppy disks; a few throw them out. */
export class FloppyDrive extends Drive {
  #inserted = true

  get inserted(): boolean {
    return this.#inserted
  }

  protected async move(open: boolean): Promise<void> {
    if (open) await this.drives.ejectFloppy(this.device.fd)
    this.#inserted = !open
  }

  protected setLock(): void {
    throw new BlockError('ENOTSUP', 'drives of floppy disks have no lock')
  }
}

function driveError(error: unknown, attempt: string): BlockError {
  if (!isUnsupported(error) && systemCode(error) !== 'EINVAL') return fileError(error, attempt)
  return new BlockError('ENOTSUP', `${attempt}: it is no drive that does so`, { cause: error })
}
