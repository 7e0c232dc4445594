import type { Model } from './model.ts'
import { describeOperation, type Operation } from './operations.ts'

/** The part of a disk handle that operations need. */
export interface DiskLike {
  readonly size: number
  read(offset: number, buf: Uint8Array, flags?: number, signal?: AbortSignal): Promise<unknown>
  write(offset: number, buf: Uint8Array, flags?: number, signal?: AbortSignal): Promise<void>
  writeZeroes(offset: number, length: number, flags?: number, signal?: AbortSignal): Promise<void>
  discard(offset: number, length: number, signal?: AbortSignal): Promise<void>
  flush(signal?: AbortSignal): Promise<void>
}

/** Runs one operation; a read returns what it read. */
export async function perform(disk: DiskLike, operation: Operation): Promise<Uint8Array | undefined> {
  switch (operation.kind) {
    case 'read': {
      const buf = new Uint8Array(operation.length).fill(0xd6)
      await disk.read(operation.offset, buf)
      return buf
    }
    case 'write':
      await disk.write(operation.offset, operation.data, operation.flags)
      return undefined
    case 'zeroes':
      await disk.writeZeroes(operation.offset, operation.length, operation.flags)
      return undefined
    case 'discard':
      await disk.discard(operation.offset, operation.length)
      return undefined
    case 'flush':
      await disk.flush()
      return undefined
  }
}

/**
 * Runs the operations of `batch` at once on `disk` and compares all that is read with `model`, which is the wiser
 * afterwards. Throws an error that lists the batch when something differs.
 */
export async function performBatch(disk: DiskLike, model: Model, batch: readonly Operation[]): Promise<void> {
  const results = await Promise.allSettled(batch.map((operation) => perform(disk, operation)))
  for (const result of results) if (result.status === 'rejected') throw explain(batch, String(result.reason))
  results.forEach((result, i) => {
    const operation = batch[i] as Operation
    if (result.status !== 'fulfilled' || operation.kind !== 'read') return
    const fault = model.faultOfRead(operation.offset, result.value as Uint8Array, batch)
    if (fault !== undefined) throw explain(batch, `${describeOperation(operation)}: ${fault}`)
  })
  for (const { offset, length } of model.apply(batch)) {
    const buf = new Uint8Array(length)
    await disk.read(offset, buf)
    const fault = model.settle(offset, buf)
    if (fault !== undefined) throw explain(batch, `after the batch: ${fault}`)
  }
  model.settled()
}

/** Compares the whole disk with `model`. */
export async function compareWhole(disk: DiskLike, model: Model, when: string): Promise<void> {
  const step = 2 ** 20
  for (let at = 0; at < model.bytes.length; at += step) {
    const buf = new Uint8Array(Math.min(step, model.bytes.length - at)).fill(0xd6)
    await disk.read(at, buf)
    const fault = model.faultOfRead(at, buf)
    if (fault !== undefined) throw new Error(`${when}: ${fault}`)
  }
}

function explain(batch: readonly Operation[], what: string): Error {
  return new Error(`${what}\nwhile at once:\n${batch.map((o) => `  ${describeOperation(o)}`).join('\n')}`)
}
