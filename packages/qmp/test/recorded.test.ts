/** What the real daemon answered (record.mjs), and what this monitor answers. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Graph } from '@diskgraph/core'
import { DeviceTable } from '@diskgraph/devices'
import { createMonitor, System } from '@diskgraph/qmp'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { drivers } from '../../../apps/storage-daemon/src/driver-table.ts'
import { LocalClient } from './local-client.ts'
import { compare, makeImage, type Recording } from './recording.ts'

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
    for (const exchange of exchanges) {
      const { send, answers, own = answers } = exchange
      compare(exchange, await client.exchangeFor(`${send}\n`, own.length))
    }
    await system.close()
    monitor.close()
    expect(warnings).toEqual([])
  })
})
