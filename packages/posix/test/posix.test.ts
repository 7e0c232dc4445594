import { execFileSync, spawn, spawnSync } from 'node:child_process'
import {
  closeSync,
  constants,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { alignedMemory, Fallocate, native, nativeUnavailable, notCached, PosixError } from '../src/index.ts'

const posix = native()
const MiB = 1024 * 1024
let folder: string
const opened: number[] = []

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'diskgraph-posix-'))
})
afterAll(() => {
  for (const fd of opened) closeSync(fd)
  rmSync(folder, { recursive: true })
})

function open(name: string, flags: number = constants.O_RDWR | constants.O_CREAT): number {
  const fd = openSync(join(folder, name), flags, 0o600)
  opened.push(fd)
  return fd
}

/** What a call returns, or the code of the error that it throws. */
function answerOf(run: () => unknown): unknown {
  try {
    return run()
  } catch (error) {
    return (error as PosixError).code
  }
}

it('is available on 64-bit Linux, where koffi is installed', () => {
  const expected = process.platform === 'linux' && ['x64', 'arm64'].includes(process.arch)
  expect(posix !== null).toBe(expected && process.env.DISKGRAPH_NATIVE !== 'off')
  expect(nativeUnavailable() === undefined).toBe(posix !== null)
})

it('gives aligned, zeroed memory with and without native access', () => {
  for (const alignment of [512, 4096, 65_536]) {
    const memory = alignedMemory(10_000, alignment)
    expect(memory.byteLength).toBe(10_000)
    expect(memory.every((byte) => byte === 0)).toBe(true)
    if (posix !== null) expect(posix.isMemoryAligned(memory, alignment)).toBe(true)
  }
})

describe.skipIf(posix === null)('native access', () => {
  if (posix === null) return

  it('finds data and holes', () => {
    const fd = open('sparse')
    ftruncateSync(fd, 4 * MiB)
    writeSync(fd, Buffer.alloc(65_536, 1), 0, 65_536, MiB)
    expect(posix.seekData(fd, 0)).toBe(MiB)
    expect(posix.seekHole(fd, 0)).toBe(0)
    expect(posix.seekHole(fd, MiB)).toBe(MiB + 65_536)
    expect(posix.seekData(fd, 2 * MiB)).toBe(-1)
    expect(posix.seekHole(fd, 4 * MiB)).toBe(-1)
  })

  it('gives offsets above 2^32 exactly', () => {
    const fd = open('large')
    const far = 5 * 2 ** 32 + 8192
    ftruncateSync(fd, far + 4096)
    writeSync(fd, Buffer.alloc(4096, 1), 0, 4096, far)
    expect(posix.seekData(fd, 1)).toBe(far)
    const buf = new Uint8Array(4096)
    expect(posix.preadNowait(fd, buf, far)).toBe(4096)
    expect(buf[4095]).toBe(1)
  })

  it('punches holes and zeroes ranges', async () => {
    const fd = open('punch')
    writeSync(fd, Buffer.alloc(MiB, 7))
    await posix.fallocate(fd, Fallocate.PunchHole, 65_536, 65_536)
    posix.fallocateSync(fd, Fallocate.PunchHole, 262_144, 65_536)
    expect(posix.seekHole(fd, 0)).toBe(65_536)
    expect(posix.seekData(fd, 65_536)).toBe(131_072)
    expect(posix.seekHole(fd, 131_072)).toBe(262_144)
    const byte = new Uint8Array(1)
    readSync(fd, byte, 0, 1, 100_000)
    expect(byte[0]).toBe(0)
    expect(fstatSync(fd).size).toBe(MiB)
  })

  it('allocates with and without a new size', async () => {
    const fd = open('allocate')
    await posix.fallocate(fd, Fallocate.KeepSize, 0, MiB)
    expect(fstatSync(fd).size).toBe(0)
    await posix.fallocate(fd, Fallocate.Allocate, 0, MiB)
    expect(fstatSync(fd).size).toBe(MiB)
    expect(fstatSync(fd).blocks * 512).toBeGreaterThanOrEqual(MiB)
  })

  it('reports errors with the code, number and name of the call', async () => {
    const fd = open('readonly')
    const reader = open('readonly', constants.O_RDONLY)
    expect(answerOf(() => posix.fallocateSync(reader, Fallocate.Allocate, 0, 4096))).toBe('EBADF')
    expect(answerOf(() => posix.fallocateSync(fd, Fallocate.Allocate, 0, 0))).toBe('EINVAL')
    await expect(posix.fallocate(reader, Fallocate.Allocate, 0, 4096)).rejects.toMatchObject({
      code: 'EBADF',
      errno: -9,
      syscall: 'fallocate',
      message: 'EBADF: bad file descriptor, fallocate',
    })
    expect(answerOf(() => posix.deviceSize(fd))).toBe('ENOTTY')
    expect(new PosixError(9999, 'x').code).toBe('E9999')
  })

  it('runs more calls at a time than koffi takes', async () => {
    const fd = open('many')
    await Promise.all(Array.from({ length: 1000 }, (_, i) => posix.fallocate(fd, Fallocate.Allocate, i * 4096, 4096)))
    expect(fstatSync(fd).size).toBe(1000 * 4096)
  })

  it('reads what the page cache holds into the right part of a buffer', () => {
    const fd = open('cached')
    writeSync(fd, Buffer.from('0123456789'))
    const buf = new Uint8Array(32).fill(255)
    const read = answerOf(() => posix.preadNowait(fd, buf.subarray(8, 12), 3))
    if (read === 'ENOTSUP') return
    expect(read).toBe(4)
    expect(Buffer.from(buf.subarray(8, 12)).toString()).toBe('3456')
    expect(buf[7]).toBe(255)
    expect(buf[12]).toBe(255)
    expect(posix.preadNowait(fd, buf, 8)).toBe(2)
    expect(posix.preadNowait(fd, buf, 10)).toBe(0)
  })

  it('does not wait for what is not cached', () => {
    const fd = open('cold')
    writeSync(fd, Buffer.alloc(MiB, 3))
    fdatasyncSync(fd)
    const readCold = () => answerOf(() => posix.preadNowait(fd, new Uint8Array(4096), 512 * 1024))
    let answer: unknown = 4096
    // The kernel keeps pages that something else looks at meanwhile: it is asked until it lets go of them.
    for (let tries = 0; answer === 4096 && tries < 50; tries++) {
      execFileSync('dd', [`if=${join(folder, 'cold')}`, 'iflag=nocache', 'count=0'], { stdio: 'ignore' })
      answer = readCold()
    }
    expect(answer).toBeOneOf([notCached, 'ENOTSUP'])
    readSync(fd, new Uint8Array(4096), 0, 4096, 512 * 1024)
    expect(answerOf(() => posix.preadNowait(fd, new Uint8Array(4096), 512 * 1024))).toBeOneOf([4096, 'ENOTSUP'])
  })

  it('copies between files inside the kernel', async () => {
    const from = open('copy-from')
    const to = open('copy-to')
    writeSync(from, Buffer.alloc(MiB, 9))
    expect(await posix.copyFileRange(from, 4096, to, 8192, 65_536)).toBe(65_536)
    expect(await posix.copyFileRange(from, MiB - 100, to, 0, 4096)).toBe(100)
    expect(await posix.copyFileRange(from, MiB, to, 0, 4096)).toBe(0)
    expect(fstatSync(to).size).toBe(8192 + 65_536)
    await expect(posix.copyFileRange(from, 0, from, 10, 100)).rejects.toMatchObject({ code: 'EINVAL' })
  })

  it('tells the alignment of direct requests, or that it is unknown', () => {
    const alignment = posix.directAlignment(open('align'))
    if (alignment === undefined) return
    expect(alignment.offset).toBeGreaterThanOrEqual(512)
    expect(Math.log2(alignment.memory) % 1).toBe(0)
  })

  it('passes hints to file systems that take them, and says ENOTSUP for others', () => {
    const fd = open('hints')
    posix.dropCache(fd)
    expect(answerOf(() => posix.disableCopyOnWrite(fd))).toBeOneOf([undefined, 'ENOTSUP', 'ENOTTY', 'EINVAL'])
    expect(answerOf(() => posix.setExtentSize(fd, MiB))).toBeOneOf([undefined, 'ENOTSUP', 'ENOTTY', 'EINVAL'])
  })

  describe('locks', () => {
    it('stand against other descriptions of the same file, not against their own', () => {
      const one = open('locks')
      const other = open('locks')
      expect(posix.lockRange(one, 100, 1, 'shared')).toBe(true)
      expect(posix.canLockRange(one, 100, 1, 'exclusive')).toBe(true)
      expect(posix.canLockRange(other, 100, 1, 'exclusive')).toBe(false)
      expect(posix.canLockRange(other, 101, 1, 'exclusive')).toBe(true)
      expect(posix.lockRange(other, 100, 1, 'shared')).toBe(true)
      expect(posix.lockRange(one, 100, 1, 'exclusive')).toBe(false)
      posix.unlockRange(other, 0, 1000)
      expect(posix.lockRange(one, 100, 1, 'exclusive')).toBe(true)
      expect(posix.lockRange(other, 100, 1, 'shared')).toBe(false)
    })

    it('reach offsets above 2^32', () => {
      const one = open('far-locks')
      const other = open('far-locks')
      const far = 3 * 2 ** 32 + 7
      expect(posix.lockRange(one, far, 2, 'exclusive')).toBe(true)
      expect(posix.canLockRange(other, far - 1, 1, 'shared')).toBe(true)
      expect(posix.canLockRange(other, far + 1, 1, 'shared')).toBe(false)
      expect(posix.canLockRange(other, far + 2, 1, 'shared')).toBe(true)
    })

    it('end with the process that holds them', async () => {
      const fd = open('held')
      const child = spawn('perl', [
        '-e',
        'open F,"+<",$ARGV[0];$p=pack("ssx4qqlx4",1,0,5,1,0);fcntl(F,37,$p) or die;print "y";$|=1;print "\n";sleep 60',
        join(folder, 'held'),
      ])
      await new Promise((resolve) => child.stdout.once('data', resolve))
      expect(posix.canLockRange(fd, 5, 1, 'shared')).toBe(false)
      child.kill('SIGKILL')
      await new Promise((resolve) => child.once('exit', resolve))
      expect(posix.canLockRange(fd, 5, 1, 'shared')).toBe(true)
    })
  })
})

/** A loop device over a file of 8 MiB; undefined where this process may not make one. */
function attachLoopDevice(): string | undefined {
  const backing = join(folder, 'loop')
  const fd = open('loop')
  ftruncateSync(fd, 8 * MiB)
  const attached = spawnSync('losetup', ['--find', '--show', backing], { encoding: 'utf8' })
  return attached.status === 0 ? attached.stdout.trim() : undefined
}

it.skipIf(posix === null)('asks and orders block devices', async (context) => {
  const device = attachLoopDevice()
  if (posix === null || device === undefined) return context.skip('no loop devices')
  const fd = openSync(device, constants.O_RDWR)
  try {
    expect(posix.deviceSize(fd)).toBe(8 * MiB)
    expect(posix.logicalBlockSize(fd)).toBe(512)
    expect(posix.physicalBlockSize(fd)).toBeGreaterThanOrEqual(512)
    const buf = new Uint8Array(8192).fill(5)
    writeSync(fd, buf, 0, 8192, MiB)
    await posix.zeroBlocks(fd, MiB, 4096)
    readSync(fd, buf, 0, 8192, MiB)
    expect(buf[4095]).toBe(0)
    expect(buf[4096]).toBe(5)
    await posix.discardBlocks(fd, MiB, 8192)
    await expect(posix.discardBlocks(fd, 16 * MiB, 4096)).rejects.toMatchObject({ code: 'EINVAL' })
  } finally {
    closeSync(fd)
    spawnSync('losetup', ['--detach', device])
  }
})

it('is null when it is switched off, and says why', () => {
  const program = `import { native, nativeUnavailable } from ${JSON.stringify(new URL('../src/index.ts', import.meta.url).href)}
    process.stdout.write(String(native()) + ' ' + nativeUnavailable())`
  const result = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
    env: { ...process.env, DISKGRAPH_NATIVE: 'off' },
    encoding: 'utf8',
  })
  expect(result.stdout).toBe('null switched off by DISKGRAPH_NATIVE=off')
})
