/**
 * The C library, as far as this package calls it.
 *
 * Only 64-bit Linux (x64, arm64) is supported, where `off_t` is 64 bits wide in glibc and musl alike and where a
 * variadic function takes its first integer arguments exactly as a fixed one does, so `fcntl`, `ioctl` and
 * `syscall` are declared with fixed arguments. Calls that older C libraries lack go through `syscall` by number.
 *
 * Loading koffi through its own entry takes 8 ms, loading its prebuilt binary directly 2 ms. The short way is tried
 * first, except where musl is installed: there only koffi's entry knows which of its two binaries fits.
 */
import { existsSync, realpathSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

type Value = number | bigint

/** A C function: called at once, or on the thread pool with a callback as the last argument. */
export interface NativeFunction<Args extends readonly unknown[]> {
  (...args: Args): Value
  async(...args: [...Args, (error: unknown, result: Value) => void]): void
}

/** A pointer argument: memory that lives outside the heap of the engine and does not move. */
export type Memory = Uint8Array | BigUint64Array | BigInt64Array | null

/** The functions and what goes with a call. */
export interface Libc {
  errno(): number
  /** The address of the first byte of a typed array. */
  address(memory: Uint8Array): bigint
  fcntl: NativeFunction<[fd: number, command: number, argument: Memory]>
  fcntlNumber: NativeFunction<[fd: number, command: number, argument: number]>
  ioctl: NativeFunction<[fd: number, request: number, argument: Memory]>
  ioctlNumber: NativeFunction<[fd: number, request: number, argument: number]>
  recvmsg: NativeFunction<[fd: number, message: Memory, flags: number]>
  lseek: NativeFunction<[fd: number, offset: number, whence: number]>
  fallocate: NativeFunction<[fd: number, mode: number, offset: number, length: number]>
  /** Gives the errno itself. */
  posixFadvise: NativeFunction<[fd: number, offset: number, length: number, advice: number]>
  preadv2: NativeFunction<
    [nr: number, fd: number, iov: Memory, count: number, low: number, high: number, flags: number]
  >
  statx: NativeFunction<[nr: number, fd: number, path: string, flags: number, mask: number, result: Memory]>
  copyFileRange: NativeFunction<
    [nr: number, from: number, fromOffset: Memory, to: number, toOffset: Memory, length: number, flags: number]
  >
  /** System call numbers of this architecture. */
  readonly numbers: SyscallNumbers
}

interface SyscallNumbers {
  readonly copyFileRange: number
  readonly preadv2: number
  readonly statx: number
}

const syscallNumbers: { readonly [arch: string]: SyscallNumbers | undefined } = {
  x64: { copyFileRange: 326, preadv2: 327, statx: 332 },
  arm64: { copyFileRange: 285, preadv2: 286, statx: 291 },
}

/** The part of koffi that is used here. */
interface Koffi {
  load(path: null): { func(name: string, result: string, args: string[]): unknown }
  address(memory: Uint8Array): bigint
  errno(): number
}

/** Loads koffi and declares the functions. Throws when the platform, koffi or its binary is not there. */
export function loadLibc(): Libc {
  const numbers = syscallNumbers[process.arch]
  if (process.platform !== 'linux' || numbers === undefined) {
    throw new Error(`native access is not supported on ${process.platform} ${process.arch}`)
  }
  const koffi = loadKoffi()
  const library = koffi.load(null)
  const declare = <Args extends readonly unknown[]>(name: string, args: string[]): NativeFunction<Args> =>
    library.func(name, 'intptr', args) as NativeFunction<Args>
  return {
    errno: () => koffi.errno(),
    address: (memory) => koffi.address(memory),
    fcntl: declareInt(library, 'fcntl', ['int', 'int', 'void *']),
    fcntlNumber: declareInt(library, 'fcntl', ['int', 'int', 'long']),
    ioctl: declareInt(library, 'ioctl', ['int', 'ulong', 'void *']),
    ioctlNumber: declareInt(library, 'ioctl', ['int', 'ulong', 'long']),
    recvmsg: declare('recvmsg', ['int', 'void *', 'int']),
    lseek: declare('lseek', ['int', 'int64', 'int']),
    fallocate: declareInt(library, 'fallocate', ['int', 'int', 'int64', 'int64']),
    posixFadvise: declareInt(library, 'posix_fadvise', ['int', 'int64', 'int64', 'int']),
    preadv2: declare('syscall', ['long', 'long', 'void *', 'long', 'int64', 'int64', 'long']),
    statx: declare('syscall', ['long', 'long', 'str', 'long', 'long', 'void *']),
    copyFileRange: declare('syscall', ['long', 'long', 'void *', 'long', 'void *', 'size_t', 'long']),
    numbers,
  }
}

/** Declares a function whose result is a C `int`, of which only the lower half of the register is defined. */
function declareInt<Args extends readonly unknown[]>(
  library: ReturnType<Koffi['load']>,
  name: string,
  args: string[],
): NativeFunction<Args> {
  return library.func(name, 'int', args) as NativeFunction<Args>
}

function loadKoffi(): Koffi {
  const muslLoader = process.arch === 'x64' ? '/lib/ld-musl-x86_64.so.1' : '/lib/ld-musl-aarch64.so.1'
  const file = existsSync(muslLoader) ? undefined : prebuiltKoffi()
  if (file === undefined) return createRequire(import.meta.url)('koffi') as Koffi
  const module = { exports: {} }
  process.dlopen(module, file)
  return module.exports as Koffi
}

/** The binary of this platform, which stands beside koffi; undefined where it is not laid out as expected. */
function prebuiltKoffi(): string | undefined {
  const { arch } = process
  for (let folder = fileURLToPath(import.meta.url); folder !== dirname(folder); ) {
    folder = dirname(folder)
    const koffi = join(folder, 'node_modules', 'koffi')
    if (!existsSync(koffi)) continue
    const binary = join('@koromix', `koffi-linux-${arch}`, `linux_${arch}`, 'koffi.node')
    const place = realpathSync(koffi)
    return [join(place, '..', binary), join(place, 'node_modules', binary)].find((file) => existsSync(file))
  }
  return undefined
}
