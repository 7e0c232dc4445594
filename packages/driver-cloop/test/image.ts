/** Images as create_compressed_fs writes them. */
import { deflateSync } from 'node:zlib'

const script = '#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\nexit $?\n'

/** An image of `blocks` blocks, each of its own bytes, and what it reads as. */
export function cloopImage(blocks: number, blockSize: number) {
  const content = Uint8Array.from(
    { length: blocks * blockSize },
    (_, i) => (Math.floor(i / blockSize) * 7 + (i % 5)) % 256,
  )
  const pieces = Array.from({ length: blocks }, (_, i) =>
    deflateSync(content.subarray(i * blockSize, (i + 1) * blockSize)),
  )
  const head = new Uint8Array(136 + (blocks + 1) * 8)
  head.set(new TextEncoder().encode(script))
  const view = new DataView(head.buffer)
  view.setUint32(128, blockSize)
  view.setUint32(132, blocks)
  let at = head.length
  for (let i = 0; i <= blocks; i++) {
    view.setBigUint64(136 + i * 8, BigInt(at))
    at += pieces[i]?.length ?? 0
  }
  return { bytes: new Uint8Array(Buffer.concat([head, ...pieces])), content }
}
