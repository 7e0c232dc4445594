/** Sends descriptors over a unix socket, which Node cannot. */
import { createRequire } from 'node:module'
import type { Socket } from 'node:net'

interface Koffi {
  load(path: null): { func(name: string, result: string, args: string[]): (...args: unknown[]) => number }
  address(memory: Uint8Array): bigint
}

const koffi = createRequire(new URL('../../posix/src/index.ts', import.meta.url))('koffi') as Koffi
const sendmsg = koffi.load(null).func('sendmsg', 'intptr', ['int', 'void *', 'int'])

/** Sends `text`, with `fds` at its first byte. */
export function sendDescriptors(socket: Socket, text: string, fds: readonly number[]): void {
  const { _handle: handle } = socket as unknown as { readonly _handle: { readonly fd: number } }
  const bytes = Buffer.from(text)
  const [iov, control, header] = [new BigUint64Array(16), new DataView(new ArrayBuffer(2048)), new BigUint64Array(16)]
  const addressOf = (view: ArrayBufferView): bigint => koffi.address(new Uint8Array(view.buffer))
  const data = new Uint8Array(new ArrayBuffer(Math.max(128, bytes.length)))
  data.set(bytes)
  iov.set([addressOf(data), BigInt(bytes.length)])
  const length = 16 + 4 * fds.length
  control.setBigUint64(0, BigInt(length), true)
  control.setInt32(8, 1, true)
  control.setInt32(12, 1, true)
  for (const [i, fd] of fds.entries()) control.setInt32(16 + 4 * i, fd, true)
  header.set([0n, 0n, addressOf(iov), 1n, addressOf(control), BigInt(Math.ceil(length / 8) * 8), 0n])
  const sent = Number(sendmsg(handle.fd, new Uint8Array(header.buffer), 0))
  if (sent !== bytes.length) throw new Error(`sendmsg has sent ${sent} of ${bytes.length} bytes`)
}
