/** Images whose header tells a wrong number of snapshots. */
import { isBlockError } from '@diskgraph/core'
import { peer } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { makePatient, Patient } from '../damage.ts'
import { Folder, newGraph, qemuCheck, run } from '../images.ts'

const counts = [3, 5, 12, 100, 1700, 2000, 30_000, 65_536, 70_000]

/** What one repair says: nothing left, something left, or that it gave up. */
async function repair(path: string): Promise<'clean' | 'damaged' | 'refused'> {
  await using graph = newGraph()
  const file = { driver: 'file', filename: path, locking: 'off' }
  try {
    const disk = await graph.addUnchecked({ driver: 'qcow2', file }, { check: true })
    const { corruptions, checkErrors, leaks } = await disk.check({ repair: 'all' })
    await disk.close()
    return corruptions + checkErrors + leaks === 0 ? 'clean' : 'damaged'
  } catch (error) {
    if (!isBlockError(error)) throw error
    return 'refused'
  }
}

peer('qemu-img', { describe, it }).describe('a wrong number of snapshots', () => {
  for (const options of ['', 'cluster_size=512', 'cluster_size=4k,refcount_bits=8', 'compat=0.10']) {
    for (const count of counts) {
      it(`of ${count} is repaired where the repair says so (${options || 'defaults'})`, async () => {
        using folder = new Folder()
        const damage = { name: '', ...(options && { options }), snapshots: true, harm: () => {} }
        const { path } = makePatient(folder.file('a'), damage)
        // Other clusters stand behind the table.
        run('qemu-io', '-f', 'qcow2', '-c', 'write -P 3 300k 200k', path)
        new Patient(path).set(60, count, 4)
        const started = performance.now()
        const said = await repair(path)
        expect(performance.now() - started).toBeLessThan(5000)
        if (said !== 'clean') return
        expect(qemuCheck(path)).toMatchObject({ code: 0 })
        expect(run('qemu-io', '-f', 'qcow2', '-c', 'read -P 3 300k 200k', path)).not.toContain('failed')
        // A table with nothing but zeroes behind it is as it was.
        if (options === '' && count <= 1700) expect(new Patient(path).get(60, 4)).toBe(2n)
      })
    }
  }
})
