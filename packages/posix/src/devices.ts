import { callAsync } from './async-calls.ts'
import { ioctl } from './ioctl.ts'
import type { Libc, Memory, NativeFunction } from './libc.ts'

const BLKGETSIZE64 = 0x80081272
const BLKSSZGET = 0x1268
const BLKPBSZGET = 0x127b
const BLKDISCARD = 0x1277
const BLKZEROOUT = 0x127f

/** Questions and orders to block devices. `ENOTTY` for anything else. */
export interface Devices {
  /** Size of a block device in bytes. */
  deviceSize(fd: number): number
  /** The smallest unit that a block device addresses, in bytes. */
  logicalBlockSize(fd: number): number
  /** The unit that a block device writes without reading first, in bytes. */
  physicalBlockSize(fd: number): number
  /** Deallocates a range on the thread pool; what it reads as afterwards is up to the device. */
  discardBlocks(fd: number, offset: number, length: number): Promise<void>
  /** Makes a range zeroes on the thread pool; the device may write them. */
  zeroBlocks(fd: number, offset: number, length: number): Promise<void>
}

/** {@link Devices} by `ioctl`. */
export function createDevices(libc: Libc): Devices {
  const answer = new Uint8Array(new ArrayBuffer(128), 0, 8)
  const view = new DataView(answer.buffer, 0, 8)

  function ask(fd: number, request: number): DataView {
    view.setBigUint64(0, 0n)
    ioctl(libc, fd, request, answer)
    return view
  }

  async function changeRange(fd: number, request: number, offset: number, length: number): Promise<void> {
    const range = new BigUint64Array([BigInt(offset), BigInt(length), 0n, 0n, 0n, 0n, 0n, 0n, 0n])
    await callAsync(libc, 'ioctl', (done) => callIoctl(libc.ioctl, fd, request, range, done))
  }

  return {
    deviceSize: (fd) => Number(ask(fd, BLKGETSIZE64).getBigUint64(0, true)),
    logicalBlockSize: (fd) => ask(fd, BLKSSZGET).getUint32(0, true),
    physicalBlockSize: (fd) => ask(fd, BLKPBSZGET).getUint32(0, true),
    discardBlocks: (fd, offset, length) => changeRange(fd, BLKDISCARD, offset, length),
    zeroBlocks: (fd, offset, length) => changeRange(fd, BLKZEROOUT, offset, length),
  }
}

/** Calls `ioctl` with memory that is kept until the call has ended. */
function callIoctl(
  ioctl: NativeFunction<[fd: number, request: number, argument: Memory]>,
  fd: number,
  request: number,
  range: BigUint64Array,
  done: (error: unknown, result: number | bigint) => void,
): void {
  ioctl.async(fd, request, range, (error, result) => {
    range[0] = 0n
    done(error, result)
  })
}
