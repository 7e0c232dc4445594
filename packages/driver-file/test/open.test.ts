import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { Graph, isBlockError } from '@diskgraph/core'
import { afterAll, describe, expect, it } from 'vitest'
import { file, hostDevice } from '../src/index.ts'
import { createImage, hasQemu, openImage, pattern, temporaryFolder } from './support.ts'

const folder = temporaryFolder()
const at = (name: string) => join(folder, name)
const regular = at('regular')
const socket = at('socket')
writeFileSync(regular, pattern(4096))
execFileSync('mkfifo', [at('fifo')])
mkdirSync(at('directory'))
symlinkSync('loop', at('loop'))
const server = createServer().listen(socket)
afterAll(() => server.close())

/** The message of opening `filename`, or `opened`. */
async function messageOf(filename: string, options: Parameters<typeof openImage>[1] = {}): Promise<string> {
  try {
    await (await openImage(filename, options)).close()
    return 'opened'
  } catch (error) {
    expect(isBlockError(error)).toBe(true)
    return (error as Error).message
  }
}

/** What qemu-img says of opening `filename`, without the name of the tool. */
function messageOfQemu(filename: string): string {
  const { stderr } = spawnSync('qemu-img', ['info', '-f', 'raw', '--', filename], { encoding: 'utf8', timeout: 5000 })
  return stderr.trim().replace(/^qemu-img: Could not open '[^']*': /, '')
}

function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length
}

describe('what is no file', () => {
  const cases: [string, string, string][] = [
    ['a missing file', at('missing'), `Could not open '${at('missing')}': No such file or directory`],
    ['a directory', at('directory'), `'file' driver requires '${at('directory')}' to be a regular file`],
    ['a socket', socket, `Could not open '${socket}': No such device or address`],
    ['a loop of links', at('loop'), `Could not open '${at('loop')}': Too many levels of symbolic links`],
    ['a file below a file', `${regular}/x`, `Could not open '${regular}/x': Not a directory`],
    ['a name too long', at('n'.repeat(300)), `Could not open '${at('n'.repeat(300))}': File name too long`],
    ['an empty name', '', "The 'file' block driver requires a file name"],
  ]

  it.each(cases)('is refused in the words of QEMU: %s', async (_, filename, message) => {
    const before = openDescriptors()
    expect(await messageOf(filename, { readOnly: true })).toBe(message)
    expect(openDescriptors()).toBe(before)
    if (hasQemu) expect(messageOfQemu(filename)).toBe(message)
  })

  it('is refused at once, where opening would wait: FIFOs', async () => {
    for (const readOnly of [true, false]) {
      expect(await messageOf(at('fifo'), { readOnly })).toBe(
        `'file' driver requires '${at('fifo')}' to be a regular file`,
      )
    }
    expect(await messageOf('/dev/null')).toBe("'file' driver requires '/dev/null' to be a regular file")
    for (const filename of [regular, at('fifo'), at('directory')]) {
      expect(await messageOf(filename, { driver: 'host_device', readOnly: true })).toBe(
        `'host_device' driver requires '${filename}' to be either a character or block device`,
      )
    }
  })

  it.each(['/dev/null', '/dev/zero', '/dev/full'])('is empty where it is the character device %s', async (filename) => {
    await using graph = new Graph({ drivers: [file, hostDevice] })
    const disk = await graph.open(filename, { format: 'host_device' })
    expect([disk.size, disk.node.filename]).toEqual([0, filename])
    await disk.flush()
    await expect(disk.read(0, new Uint8Array(512))).rejects.toMatchObject({ code: 'EIO' })
    await expect(disk.write(0, new Uint8Array(512))).rejects.toMatchObject({ code: 'EIO' })
    await expect(disk.truncate(512)).rejects.toMatchObject({ message: expect.stringContaining('Cannot grow device') })
    const exact = disk.truncate(512, { exact: true })
    await expect(exact).rejects.toMatchObject({ message: expect.stringContaining('Cannot resize device') })
    await disk.truncate(0)
    expect(disk.size).toBe(0)
    await expect(createImage({ filename, size: 512 }, { driver: 'host_device' })).rejects.toMatchObject({
      message: 'Cannot grow device files',
    })
  })

  it('takes no native AIO beside the page cache, as in QEMU', async () => {
    const words = 'aio=native was specified, but it requires cache.direct=on, which was not specified.'
    await using graph = new Graph({ drivers: [file] })
    const native = { driver: 'file', filename: regular, aio: 'native' } as const
    await expect(graph.add(native)).rejects.toThrow(words)
  })

  it('does not pass with a zero byte in its name', async () => {
    expect(await messageOf(`${regular}\0.raw`)).toMatch(/Invalid argument$/)
  })
})

describe('a file that may only be read', () => {
  const immutable = at('immutable')
  writeFileSync(immutable, pattern(512))

  it('is opened read-only if that is allowed, and refused otherwise', async () => {
    chmodSync(folder, 0o755)
    chmodSync(immutable, 0o444)
    const isRoot = process.geteuid?.() === 0
    if (isRoot) process.seteuid?.(65_534)
    try {
      expect(await messageOf(immutable)).toBe(`Could not open '${immutable}': Permission denied`)
      expect(await messageOf(immutable, { autoReadOnly: true })).toBe('opened')
    } finally {
      if (isRoot) process.seteuid?.(0)
    }
  })

  it('is found on a read-only file system', async (context) => {
    const inside = join(at('directory'), 'inside')
    writeFileSync(inside, pattern(512))
    const mounted = spawnSync('mount', ['--bind', at('directory'), at('directory')])
    if (mounted.status !== 0) return context.skip('no right to mount')
    spawnSync('mount', ['-o', 'remount,bind,ro', at('directory')])
    try {
      expect(await messageOf(inside)).toBe(`Could not open '${inside}': Read-only file system`)
      expect(await messageOf(inside, { autoReadOnly: true })).toBe('opened')
      const graph = new Graph({ drivers: [file] })
      const disk = await graph.add({ driver: 'file', filename: inside })
      expect(disk.readOnly).toBe(true)
      await graph.close()
    } finally {
      spawnSync('umount', [at('directory')])
    }
  })
})

describe('a file that an image refers to', () => {
  const images = at('images')
  mkdirSync(images)
  mkdirSync(at('images-of-others'))
  writeFileSync(join(images, 'base'), pattern(512))
  writeFileSync(at('images-of-others/base'), pattern(512))
  symlinkSync('base', join(images, 'link-inside'))
  symlinkSync('../regular', join(images, 'link-outside'))
  symlinkSync(at('images-of-others'), join(images, 'folder-outside'))
  execFileSync('mkfifo', [join(images, 'fifo')])

  it.each(['base', 'link-inside'])('is opened inside the directory of the image: %s', async (name) => {
    const image = await openImage(join(images, name), { contain: images })
    await image.write(0, pattern(10), 0)
    await image.close()
  })

  it.each(['link-outside', 'folder-outside/base', '../regular', '../images-of-others/base'])(
    'is refused outside of it, and not touched: %s',
    async (name) => {
      const before = openDescriptors()
      const opening = openImage(join(images, name), { contain: images, readOnly: true })
      await expect(opening).rejects.toMatchObject({ code: 'EPERM', message: expect.stringContaining('lies outside') })
      expect(openDescriptors()).toBe(before)
    },
  )

  it('is refused when it is no regular file, or missing', async () => {
    expect(await messageOf(join(images, 'fifo'), { contain: images })).toMatch(/to be a regular file$/)
    expect(await messageOf(join(images, 'none'), { contain: images })).toMatch(/No such file or directory$/)
  })

  it('is found when the directory itself is reached by a link, or is the current one', async () => {
    symlinkSync(images, at('link-to-images'))
    expect(await messageOf(join(at('link-to-images'), 'base'), { contain: at('link-to-images') })).toBe('opened')
    expect(await messageOf('package.json', { contain: '', readOnly: true })).toBe('opened')
  })
})
