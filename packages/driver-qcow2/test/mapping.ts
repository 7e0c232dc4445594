/** What tests over a fake file ask of an image: its bytes, and where they stand. */

import { Kind, newRun } from '@diskgraph/clusters'
import type { Qcow2State } from '../src/state.ts'
import { FakeFile, type FakeImage } from './fake-file.ts'

/** Bytes of one value. */
export function filled(length: number, value = 1): Uint8Array<ArrayBuffer> {
  return new Uint8Array(length).fill(value)
}

/** A file that holds `length` bytes of one value, for a backing file. */
export function fileOf(length: number, value: number): FakeFile {
  const file = new FakeFile()
  file.bytes = filled(length, value)
  return file
}

/** The bytes of a range, as runs: `1 x 512, 0 x 512`. */
export async function content(image: FakeImage['image'], offset: number, length: number): Promise<string> {
  const buf = new Uint8Array(length)
  await image.read(offset, buf, 0)
  return runsOf(buf)
}

/** Bytes as runs of one value: `1 x 512, 0 x 512`. */
export function runsOf(bytes: Uint8Array): string {
  const runs: string[] = []
  for (let at = 0; at < bytes.length; ) {
    let end = at + 1
    while (end < bytes.length && bytes[end] === bytes[at]) end++
    runs.push(`${bytes[at]} x ${end - at}`)
    at = end
  }
  return runs.join(', ')
}

const names = new Map<number, string>(Object.entries(Kind).map(([name, kind]) => [kind, name]))

/** What `count` clusters from guest offset `offset` on are: `normal 5 copied`, with the host cluster. */
export async function mapping(state: Qcow2State, offset: number, count = 1): Promise<string[]> {
  const { clusterSize } = state.geometry
  const found: string[] = []
  for (let i = 0; i < count; i++) {
    const run = newRun()
    await state.map.find(offset + i * clusterSize, 1, run)
    const placed = run.kind === Kind.normal || run.kind === Kind.zeroAllocated
    const host = placed ? ` ${run.host / clusterSize}` : ''
    found.push(`${names.get(run.kind)}${host}${run.copied ? ' copied' : ''}`)
  }
  return found
}

/** The counts of `count` host clusters from `start` on. */
export async function counts(state: Qcow2State, start: number, count: number): Promise<number[]> {
  const found: number[] = []
  for (let i = 0; i < count; i++) found.push(await state.refcounts.get(start + i))
  return found
}

/** A promise that the test settles. */
export interface Gate {
  readonly promise: Promise<void>
  open(): void
  fail(error: unknown): void
}

/** A new gate. */
export function newGate(): Gate {
  let open = (): void => {}
  let fail: (error: unknown) => void = () => {}
  const promise = new Promise<void>((resolve, reject) => {
    open = resolve
    fail = reject
  })
  return { promise, open, fail }
}

/** Some turns of the event loop: whatever can go on has gone on. */
export async function turns(count = 5): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise<void>((resolve) => setImmediate(resolve))
}
