/** Small drivers that the tests of the core use. */

import { done, type OpenImage, Passthrough } from '../src/driver.ts'
import { BlockError, type DriverDescriptor, Flag } from '../src/index.ts'

/** Content of memory disks by name, so that a test can look at it and reopen it. */
export class Storage {
  readonly disks = new Map<string, Uint8Array>()
  readonly log: string[] = []
}

/** A growable RAM disk of one buffer, logging what reaches it. */
export function ram(
  storage: Storage,
  limits: OpenImage['limits'] = {},
  extra: Partial<OpenImage> = {},
): DriverDescriptor {
  return {
    name: 'ram',
    kind: 'protocol',
    description: 'RAM disk of the tests',
    options: {
      disk: { type: 'string', required: true, description: 'name of the content' },
      pace: { type: 'integer', default: 0, reopen: true, description: 'milliseconds per request' },
    },
    formatFilename: (options) => `ram:${options.disk}`,
    prefixes: ['ram'],
    parseFilename: (filename) => ({ disk: filename.slice('ram:'.length) }),
    createOptions: {
      disk: { type: 'string', required: true, description: 'name of the content' },
      size: { type: 'integer', required: true, description: 'bytes' },
    },
    async create({ options }) {
      storage.disks.set(options.disk as string, new Uint8Array(options.size as number))
    },
    async remove(options) {
      storage.disks.delete(options.disk as string)
    },
    async open({ options, nodeName }) {
      const disk = options.disk as string
      if (!storage.disks.has(disk)) throw new BlockError('ENOENT', `no disk '${disk}'`, { node: nodeName })
      const bytes = (): Uint8Array => storage.disks.get(disk) as Uint8Array
      const pace = options.pace as number
      const wait = (): Promise<void> => (pace === 0 ? done : new Promise((resolve) => setTimeout(resolve, pace)))
      return {
        get size() {
          return bytes().length
        },
        identity: `ram:${disk}`,
        limits,
        async read(offset, buf) {
          storage.log.push(`read ${offset}+${buf.length}`)
          await wait()
          buf.set(bytes().subarray(offset, offset + buf.length))
        },
        async write(offset, buf) {
          storage.log.push(`write ${offset}+${buf.length}`)
          const copy = buf.slice()
          await wait()
          if (offset + copy.length > bytes().length) grow(storage, disk, offset + copy.length)
          bytes().set(copy, offset)
        },
        async flush() {
          storage.log.push('flush')
        },
        async truncate(size) {
          grow(storage, disk, size)
        },
        async close() {
          storage.log.push(`close ${disk}`)
        },
        ...extra,
      }
    },
  }
}

function grow(storage: Storage, disk: string, size: number): void {
  const bytes = new Uint8Array(size)
  bytes.set((storage.disks.get(disk) as Uint8Array).subarray(0, size))
  storage.disks.set(disk, bytes)
}

/** A filter that changes nothing. */
export const pass: DriverDescriptor = {
  name: 'pass',
  kind: 'filter',
  description: 'forwards everything',
  options: { file: { type: 'child', role: 'filtered', required: true, description: 'filtered node' } },
  open: async ({ children }) => new Passthrough(children.require('file')),
}

/** A copy-on-write format without metadata on disk: `backing=<name>` in the first 64 bytes is its reference. */
export const cowish: DriverDescriptor = {
  name: 'cowish',
  kind: 'format',
  description: 'overlay of the tests: blocks of 64 bytes that are all zero show the backing file',
  options: {
    file: { type: 'child', role: 'storage', required: true, description: 'storage' },
    backing: { type: 'child', role: 'cow', description: 'backing file' },
  },
  probe: (head) => (new TextDecoder().decode(head.subarray(0, 6)) === 'COWISH' ? 100 : 0),
  async open({ children, reference }) {
    const file = children.require('file')
    const head = new Uint8Array(64)
    await file.read(0, head)
    const text = new TextDecoder().decode(head).replace(/\0+$/, '')
    const [, filename, format] = text.split(' ')
    if (filename) await reference('backing', { filename, ...(format ? { format } : {}) })
    return {
      get size() {
        return file.size - 64
      },
      writeFlags: Flag.Fua,
      async read(offset, buf, _flags, signal) {
        await file.read(offset + 64, buf, 0, signal)
        const backing = children.get('backing')
        if (backing !== undefined && buf.every((byte) => byte === 0)) await backing.read(offset, buf, 0, signal)
      },
      write: (offset, buf, flags, signal) => file.write(offset + 64, buf, flags, signal),
      async blockStatus(offset, length) {
        const probe = new Uint8Array(length)
        await file.read(offset + 64, probe)
        const empty = probe.every((byte) => byte === 0)
        return empty
          ? { length, data: false, zero: false, allocated: false }
          : { length, data: true, zero: false, allocated: true, offset: offset + 64, file }
      },
    }
  },
}

/** The raw format, as little as the core's tests need. */
export const raw: DriverDescriptor = {
  name: 'raw',
  kind: 'format',
  description: 'raw',
  options: { file: { type: 'child', role: 'data', required: true, description: 'storage' } },
  probe: () => 1,
  open: async ({ children }) => new Passthrough(children.require('file')),
}

/** The header of a {@link cowish} image of `size` bytes. */
export function cowishImage(size: number, filename = '', format = ''): Uint8Array {
  const bytes = new Uint8Array(size + 64)
  bytes.set(new TextEncoder().encode(`COWISH ${filename} ${format}`.trimEnd()))
  return bytes
}
