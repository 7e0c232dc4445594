/** The emulator of npm, with Debian's SeaBIOS, boots from a stack, reads and writes. */
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Graph } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { raw } from '@diskgraph/driver-raw'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { V86Disk } from '@diskgraph/v86'
import { V86 } from 'v86'
import { describe, expect, it } from 'vitest'
import { bootSector } from './boot-sector.ts'

const wasm = fileURLToPath(import.meta.resolve('v86')).replace('libv86.mjs', 'v86.wasm')
const firmware = '/usr/share/seabios/bios.bin'
const isThere = existsSync(firmware)
if (!isThere && process.env.DISKGRAPH_REQUIRE_PEERS === '1') throw new Error(`${firmware} (seabios) is missing`)

describe(isThere ? 'in v86' : 'in v86 (needs seabios)', () => {
  it.skipIf(!isThere)('a guest boots from an overlay, reads its base, and writes', async () => {
    await using graph = new Graph({ drivers: [memory, raw, qcow2] })
    const size = 2 ** 22
    const read = Uint8Array.from({ length: 512 }, (_, i) => i * 7)
    const base = await graph.add({ driver: 'memory', name: 'base', size })
    await base.write(0, bootSector())
    await base.write(512, read)
    await base.close()
    const file = { driver: 'memory', name: 'overlay' } as const
    await graph.create({ driver: 'qcow2', size, file })
    const backing = { driver: 'raw', file: { driver: 'memory', name: 'base' }, readOnly: true } as const
    const disk = await graph.add({ driver: 'qcow2', file, backing })
    expect(await run(disk)).toBe('written')
    const written = new Uint8Array(512)
    await disk.read(1024, written)
    expect(written).toEqual(read.map((byte) => ~byte))
    expect((await disk.check({ repair: 'none' })).corruptions).toBe(0)
    await disk.close()
    const untouched = await graph.add({ driver: 'memory', name: 'base' })
    await untouched.read(1024, written)
    expect(written).toEqual(new Uint8Array(512))
  })

  it.skipIf(!isThere)('does what the README shows', async () => {
    mustShowExample(import.meta.url)
    const bios = new Uint8Array(readFileSync(firmware)).buffer
    await using graph = new Graph({ drivers: [memory, qcow2] })
    const file = { driver: 'memory', name: 'guest' } as const
    await graph.create({ driver: 'qcow2', size: 2 ** 20, file })
    const disk = await graph.add({ driver: 'qcow2', file }, { writethrough: true })
    const emulator = new V86({
      wasm_path: wasm,
      bios: { buffer: bios },
      // The types of v86 know its own kinds of images only.
      hda: new V86Disk(disk, (error) => console.error(error)) as never,
      autostart: true,
    })
    await new Promise<void>((resolve) => emulator.add_listener('emulator-ready', () => resolve()))
    await emulator.destroy()
  })
})

/** Runs the guest until it has written a word to its serial line; returns that. */
async function run(disk: ConstructorParameters<typeof V86Disk>[0]): Promise<string> {
  let emulator: V86 | undefined
  try {
    return await new Promise<string>((resolve, reject) => {
      let said = ''
      emulator = new V86({
        wasm_path: wasm,
        bios: { buffer: new Uint8Array(readFileSync(firmware)).buffer },
        hda: new V86Disk(disk, reject) as never,
        memory_size: 2 ** 24,
        vga_memory_size: 2 ** 20,
        disable_speaker: true,
        autostart: true,
      })
      emulator.add_listener('serial0-output-byte', (byte: number) => {
        said += String.fromCharCode(byte)
        if (said === 'written' || said === 'failed') resolve(said)
      })
    })
  } finally {
    await emulator?.destroy()
  }
}
