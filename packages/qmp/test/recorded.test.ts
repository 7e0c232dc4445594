/** What the real daemon answered (record.mjs), and what this monitor answers. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Graph } from '@diskgraph/core'
import { DeviceTable } from '@diskgraph/devices'
import { createMonitor, System } from '@diskgraph/qmp'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { drivers } from '../../../apps/storage-daemon/src/driver-table.ts'
import { LocalClient } from './local-client.ts'

interface Exchange {
  readonly send: string
  readonly answers: unknown[]
  /** Why the answer here is another one, and what it is. */
  readonly differs?: string
  readonly own?: unknown[]
}

interface Recording {
  readonly setup?: string[][]
  readonly exchanges: Exchange[]
}

const recordings = new URL('recorded/', import.meta.url)
const before = process.cwd()
let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'qmp-recorded-'))
  process.chdir(folder)
})

afterEach(() => {
  process.chdir(before)
  rmSync(folder, { recursive: true })
})

describe.each(readdirSync(recordings))('as recorded in %s', (name) => {
  const { setup = [], exchanges }: Recording = JSON.parse(readFileSync(new URL(name, recordings), 'utf8'))

  it('answers every line as the real daemon does', async () => {
    for (const words of setup) makeImage(words)
    const warnings: string[] = []
    await using graph = new Graph({ drivers, references: 'allow', onWarning: (text) => warnings.push(text) })
    const devices = new DeviceTable(graph)
    const system = new System({ graph, devices, quit: () => undefined })
    const monitor = createMonitor(system)
    const client = new LocalClient(monitor)
    for (const { send, answers, own = answers } of exchanges) {
      const got = await client.exchangeFor(`${send}\n`, own.length)
      // Whether the answer or an event of a job comes first is a matter of chance.
      for (const part of [answersIn, eventsIn]) {
        expect.soft(part(got).map(comparable), send).toEqual(part(own).map(comparable))
      }
    }
    await system.close()
    monitor.close()
    expect(warnings).toEqual([])
  })
})

function answersIn(messages: readonly unknown[]): unknown[] {
  return messages.filter((message) => !('event' in (message as object)))
}

function eventsIn(messages: readonly unknown[]): unknown[] {
  return messages.filter((message) => 'event' in (message as object))
}

/** The images need no peer: this is what the real tool makes. */
function makeImage(words: readonly string[]): void {
  const [, ...rest] = words
  execFileSync(process.execPath, [new URL('../../../apps/cli/bin/dg-img.js', import.meta.url).pathname, ...rest])
}

/** An answer without what differs from run to run, or by design. */
function comparable(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(comparable)
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

const varying = new Set([
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
