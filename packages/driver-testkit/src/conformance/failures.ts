import { must, mustReject } from '../assertions.ts'
import { compareWhole } from '../exercise.ts'
import { Model } from '../model.ts'
import type { Case } from './fixture.ts'

/** What happens when the storage fails. */
export const failureCases: readonly Case[] = [
  {
    name: 'reports a failing read of its storage',
    needs: ['write', 'persistence', 'file'],
    run: async (fixture) => {
      const disk = await fixture.open()
      await disk.write(0, fixture.random.bytes(65536))
      await disk.close()
      const again = await fixture.open()
      fixture.faults.arm({ nth: 1, code: 'EIO', kinds: ['read'], lasting: true })
      await mustReject(again.read(0, new Uint8Array(65536)), 'a read of a storage that fails', ['EIO'])
      fixture.faults.disarm()
      await again.read(0, new Uint8Array(65536))
    },
  },
  {
    name: 'reports each failing call of its storage, with its code, and goes on afterwards',
    needs: ['write', 'persistence', 'file'],
    run: async (fixture) => {
      for (const code of ['EIO', 'ENOSPC'] as const) {
        for (let nth = 1; nth < 200; nth++) {
          const disk = await fixture.open()
          fixture.faults.arm({ nth, code, kinds: ['read', 'write', 'writeZeroes', 'flush', 'truncate'] })
          const data = fixture.random.bytes(100_000)
          const failure = await disk
            .write(30_000, data)
            .then(() => disk.flush())
            .catch((error: { code?: string }) => error)
          const hit = fixture.faults.hits[0]
          fixture.faults.disarm()
          if (hit === undefined) break
          must(failure !== undefined, `call ${nth} (${hit.kind} at ${hit.offset}) fails, but write and flush do not`)
          must(failure.code === code, `call ${nth} fails with ${code}, but the driver says ${failure.code}`)
          await disk.close().catch(() => undefined)
        }
      }
      const disk = await fixture.open()
      const model = new Model(new Uint8Array(disk.size))
      await disk.read(0, model.bytes)
      model.bytes.set(new Uint8Array(1000).fill(1), 500)
      await disk.write(500, new Uint8Array(1000).fill(1))
      await compareWhole(disk, model, 'after the faults')
    },
  },
  {
    name: 'opens, or says why not, whichever call of its storage fails',
    needs: ['file'],
    run: async (fixture) => {
      for (let nth = 1; nth < 200; nth++) {
        fixture.faults.arm({ nth, code: 'EIO', kinds: ['read', 'write', 'flush'] })
        const disk = await fixture.open().catch((error: { code?: string }) => {
          must(error.code === 'EIO', `open fails with ${error.code} where the storage fails with EIO`)
        })
        const hit = fixture.faults.hits[0]
        fixture.faults.disarm()
        await disk?.close()
        must([...fixture.graph.nodes].length === 0, 'a failed open leaves nodes in the graph')
        if (hit === undefined) return
      }
    },
  },
]
