/** Images mutated at random: what this driver makes of them, and what the real qemu-img says about that. */
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { isBlockError, type Repair } from '@diskgraph/core'
import { peer, Random, randomSeed } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { makePatient, Patient } from '../damage.ts'
import { Folder, newGraph, qemuCheck } from '../images.ts'

const seed = Number(process.env.SEED ?? randomSeed())
const rounds = 30

/** Sets one to three fields of tables of an image to something else. */
function mutate(image: Patient, random: Random): void {
  const cluster = 2n ** image.get(20, 4)
  const places = [image.l1, image.l2, image.l2, image.refcountTable, image.refcountBlock]
  if (image.snapshotTable !== 0) places.push(image.snapshotTable)
  for (let count = random.between(1, 3); count > 0; count--) {
    const place = random.pick(places) + random.below(random.pick([8, 64])) * 8
    const old = image.get(place)
    const reference = BigInt(random.below(16)) * cluster
    const bit = 1n << BigInt(random.below(64))
    const flagged = reference | (1n << random.pick([0n, 62n, 63n]))
    image.set(place, random.pick([old ^ bit, 0n, reference, flagged, old + 512n, old + cluster, BigInt(random.word())]))
  }
}

/** Corruptions and leaks that remain, with a second check after a repair; undefined when the check gave up. */
async function check(path: string, repair: Repair): Promise<{ corruptions: number; leaks: number } | undefined> {
  await using graph = newGraph()
  const file = { driver: 'file', filename: path, locking: 'off' }
  try {
    const disk = await graph.addUnchecked({ driver: 'qcow2', readOnly: repair === 'none', file }, { check: true })
    const first = await disk.check({ repair })
    const { corruptions, leaks, checkErrors } = repair === 'none' ? first : await disk.check({ repair: 'none' })
    await disk.close()
    return checkErrors > 0 ? undefined : { corruptions, leaks }
  } catch (error) {
    if (!isBlockError(error)) throw error
    return undefined
  }
}

peer('qemu-img', { describe, it }).describe(`mutated images (seed ${seed})`, () => {
  it('are found damaged when qemu-img finds them damaged, and repaired whenever that is said', async () => {
    using folder = new Folder()
    const path = folder.file('a')
    const random = new Random(seed)
    const kinds = ['', 'cluster_size=512', 'cluster_size=4k,refcount_bits=8', 'refcount_bits=64,cluster_size=4k']
    const bases = kinds.map((options) => {
      const patient = makePatient(path, { name: '', ...(options && { options }), snapshots: true, harm: () => {} })
      return readFileSync(patient.path)
    })
    for (let round = 0; round < rounds; round++) {
      writeFileSync(path, random.pick(bases))
      mutate(new Patient(path), random)
      const { status } = spawnSync('qemu-img', ['check', '-f', 'qcow2', path])
      const found = await check(path, 'none')
      if (status !== null && status !== 1 && found !== undefined) {
        expect(found.corruptions > 0 ? 2 : found.leaks > 0 ? 3 : 0, `round ${round}`).toBe(status)
      }
      const left = await check(path, 'all')
      if (left === undefined) continue
      const { code } = qemuCheck(path)
      // Where something is left, qemu-img may still give up.
      if (left.corruptions === 0 || code !== 1) {
        expect(code, `round ${round}`).toBe(left.corruptions > 0 ? 2 : left.leaks > 0 ? 3 : 0)
      }
    }
  })
})
