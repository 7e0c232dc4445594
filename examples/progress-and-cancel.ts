/** Copies what a disk stores, tells how far it has come, and is cancelled half-way. */
import { type Disk, errorCodeOf, Graph } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import { qcow2 } from '@diskgraph/driver-qcow2'

const mebibyte = 2 ** 20

async function copy(from: Disk, to: Disk, onProgress: (done: number) => void, signal: AbortSignal): Promise<void> {
  const buf = new Uint8Array(mebibyte)
  for await (const { offset, length, data } of from.extents({ signal })) {
    for (let at = offset; data && at < offset + length; at += mebibyte) {
      const part = buf.subarray(0, Math.min(mebibyte, offset + length - at))
      await from.read(at, part, 0, signal)
      await to.write(at, part, 0, signal)
      onProgress(at + part.length)
    }
  }
  await to.flush(signal)
}

await using graph = new Graph({ drivers: [memory, qcow2] })
const from = await graph.add({ driver: 'memory', size: 8 * mebibyte })
for (let at = 0; at < from.size; at += mebibyte) await from.write(at, new Uint8Array(mebibyte).fill(7))
await graph.create({ driver: 'qcow2', size: from.size, file: { driver: 'memory', name: 'copy' } })
const to = await graph.add({ driver: 'qcow2', file: { driver: 'memory', name: 'copy' } })

const cancel = new AbortController()
const onProgress = (done: number): void => {
  console.log(`${(done / from.size) * 100} %`)
  if (done === from.size / 2) cancel.abort()
}
try {
  await copy(from, to, onProgress, cancel.signal)
} catch (error) {
  // A cancelled request may have been done or not; what was copied before it is there, and the image is sound.
  console.log(errorCodeOf(error), (await to.check()).corruptions)
}

// 12.5 %
// 25 %
// 37.5 %
// 50 %
// ECANCELED 0
