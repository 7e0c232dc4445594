import { native } from './native.ts'

const wasmPage = 65_536

/**
 * Zeroed memory whose first byte lies at a multiple of `alignment`, a power of two up to 64 KiB. With native access
 * the right part of a slightly larger buffer; without it a WebAssembly memory, which starts on a page but reserves
 * much address space, so ask for few and keep them.
 */
export function alignedMemory(length: number, alignment: number): Uint8Array {
  const posix = native()
  if (posix === null) {
    const pages = Math.max(1, Math.ceil(length / wasmPage))
    return new Uint8Array(createWasmMemory(pages), 0, length)
  }
  const memory = new Uint8Array(length + alignment)
  const start = (alignment - Number(posix.address(memory) % BigInt(alignment))) % alignment
  return memory.subarray(start, start + length)
}

function createWasmMemory(pages: number): ArrayBuffer {
  return new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer as ArrayBuffer
}
