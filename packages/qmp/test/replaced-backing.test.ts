/** What an overlay records of an image whose backing file is not the one that it records itself; qemu-img reads it. */
import { execFileSync } from 'node:child_process'
import { Graph } from '@diskgraph/core'
import { file } from '@diskgraph/driver-file'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { raw } from '@diskgraph/driver-raw'
import { peer, TempFolder } from '@diskgraph/driver-testkit'
import { createMonitor, System } from '@diskgraph/qmp'
import { describe, expect, it } from 'vitest'
import { LocalClient } from './local-client.ts'

const qemuImg = peer('qemu-img', { describe, it })

/** A disk of one cluster, filled with `byte`. */
async function makeRaw(graph: Graph, filename: string, byte: number): Promise<void> {
  await graph.create({ driver: 'file', filename, size: 65536 })
  await using disk = await graph.add({ driver: 'file', filename })
  await disk.write(0, new Uint8Array(65536).fill(byte))
}

qemuImg.describe('blockdev-snapshot-sync', () => {
  it.each([
    ['as it is recorded', 'old.img', /^\/.*\/mid\.qcow2$/],
    ['another one, put there by blockdev-add', 'new.img', /^json:\{.*"backing"/],
  ])('keeps the content of an image over its backing file, %s', async (_what, base, recorded) => {
    await using folder = await TempFolder.make()
    await using graph = new Graph({ drivers: [file, raw, qcow2] })
    const system = new System({ graph })
    const monitor = createMonitor(system)
    const client = new LocalClient(monitor)
    await client.execute('qmp_capabilities')
    await makeRaw(graph, folder.file('old.img'), 1)
    await makeRaw(graph, folder.file('new.img'), 2)
    const image = { driver: 'file', filename: folder.file('mid.qcow2') } as const
    const backing = { backingFile: 'old.img', backingFmt: 'raw' }
    await graph.create({ driver: 'qcow2', size: 65536, file: image, ...backing })

    const below = { driver: 'raw', file: { driver: 'file', filename: folder.file(base) }, 'read-only': true }
    const mid = { driver: 'qcow2', 'node-name': 'mid', file: image, backing: below }
    expect(await client.execute('blockdev-add', mid)).toEqual({})
    const overlay = folder.file('top.qcow2')
    const names = { 'node-name': 'mid', 'snapshot-file': overlay, 'snapshot-node-name': 'top' }
    expect(await client.execute('blockdev-snapshot-sync', names)).toEqual({})
    await system.close()
    monitor.close()
    await graph.close()

    const info = JSON.parse(execFileSync(qemuImg.path ?? '', ['info', '--output=json', overlay], { encoding: 'utf8' }))
    expect(info['backing-filename']).toMatch(recorded)
    execFileSync(qemuImg.path ?? '', ['convert', '-O', 'raw', overlay, folder.file('copy.img')])
    execFileSync(qemuImg.path ?? '', ['compare', '-f', 'raw', '-F', 'raw', folder.file('copy.img'), folder.file(base)])
  })
})
