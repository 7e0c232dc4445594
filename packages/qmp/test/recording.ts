/** What the real programs answered (record.mjs): how it is read, and compared with what is answered here. */
import { execFileSync } from 'node:child_process'
import { expect } from 'vitest'

/** A line, and what was answered until the next one. */
export interface Exchange {
  readonly send: string
  readonly answers: unknown[]
  /** Why the answer here is another one, and what it is. */
  readonly differs?: string
  readonly own?: unknown[]
}

/** One file. */
export interface Recording {
  /** The program and its words; default: the storage daemon with a monitor. */
  readonly program?: string[]
  readonly setup?: string[][]
  readonly exchanges: Exchange[]
}

/** Compares what `send` was answered with what is recorded. */
export function compare({ send, answers, own = answers }: Exchange, got: readonly unknown[]): void {
  // Whether the answer or an event of a job comes first is a matter of chance.
  for (const part of [answersIn, eventsIn]) {
    expect.soft(part(got).map(comparable), send).toEqual(part(own).map(comparable))
  }
}

/** The images need no peer: this is what the real tool makes. */
export function makeImage(words: readonly string[]): void {
  const [, ...rest] = words
  execFileSync(process.execPath, [new URL('../../../apps/cli/bin/dg-img.js', import.meta.url).pathname, ...rest])
}

function answersIn(messages: readonly unknown[]): unknown[] {
  return messages.filter((message) => !('event' in (message as object)))
}

function eventsIn(messages: readonly unknown[]): unknown[] {
  return messages.filter((message) => 'event' in (message as object))
}

/** An answer without what differs from run to run, or by design. */
function comparable(value: unknown): unknown {
  if (Array.isArray(value)) return inOrder(value).map(comparable)
  if (typeof value === 'string') {
    // The name of a node does not tell here that it was given another backing file since it was opened.
    const [, name] = /^json:\{"backing": .*"filename": "([^"]+)"\}\}$/.exec(value) ?? []
    return name ?? value.replace(/#block\d+/g, '#block')
  }
  if (typeof value !== 'object' || value === null) return value
  // The same guest data need not take as much of a file.
  if ('virtual-size' in value && 'format' in value && value.format === 'file') {
    return comparable({ ...value, 'virtual-size': '…', format: 'a file' })
  }
  const members = Object.entries(withoutProgress(value)).map(([key, member]) => [
    key,
    varying.has(key) ? '…' : comparable(member),
  ])
  return Object.fromEntries(members)
}

/** The order of properties of objects is a matter of chance. */
function inOrder(list: readonly unknown[]): readonly unknown[] {
  const nameOf = (one: unknown): string => (one as { readonly name: string }).name
  const isProperty = (one: unknown): boolean =>
    Object.keys(one as object)
      .sort()
      .join() === 'name,type'
  return list.every(isProperty) ? [...list].sort((one, other) => (nameOf(one) < nameOf(other) ? -1 : 1)) : list
}

const varying = new Set([
  'thread-id',
  'idle_time_ns',
  'package',
  'actual-size',
  'date-sec',
  'date-nsec',
  'vm-clock-sec',
  'vm-clock-nsec',
  'timestamp',
])

/** How far a job has come is a matter of chance while it runs. */
function withoutProgress(value: object): object {
  if (!('status' in value && value.status === 'running')) return value
  const { offset: _, len: _len, busy: _busy, ...job } = value as Record<string, unknown>
  const { 'current-progress': _current, 'total-progress': _total, ...rest } = job
  return rest
}
