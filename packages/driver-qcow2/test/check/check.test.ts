/** Check and repair of damaged images, beside the real qemu-img. */

import { spawnSync } from 'node:child_process'
import { copyFileSync, readFileSync } from 'node:fs'
import type { BlockError, ImageCheck, Repair } from '@diskgraph/core'
import { peer } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { type Damage, damages, leaveDirty, makePatient, Patient } from '../damage.ts'
import { create, Folder, newGraph, open, qemuCheck, run } from '../images.ts'

interface Outcome {
  readonly lines: string
  readonly figures: Record<string, number> | undefined
  readonly error: string
}

/** The figures as `qemu-img check --output=json` names them; those that are 0 are left out. */
function figuresOf(check: ImageCheck, fixed: ImageCheck): Record<string, number> {
  const figures = {
    'image-end-offset': check.imageEndOffset ?? 0,
    corruptions: check.corruptions,
    leaks: check.leaks,
    'check-errors': check.checkErrors,
    'allocated-clusters': check.allocatedClusters ?? 0,
    'fragmented-clusters': check.fragmentedClusters ?? 0,
    'compressed-clusters': check.compressedClusters ?? 0,
    'corruptions-fixed': fixed.corruptionsFixed,
    'leaks-fixed': fixed.leaksFixed,
  }
  return withoutZeroes(figures)
}

function withoutZeroes(figures: Record<string, unknown>): Record<string, number> {
  const names = ['filename', 'format', 'total-clusters']
  const kept = Object.entries(figures).filter(([name, value]) => value !== 0 && !names.includes(name))
  return Object.fromEntries(kept) as Record<string, number>
}

/** A check by this driver, and a second one after a repair, as qemu-img does it. */
async function ourCheck(path: string, repair: Repair): Promise<Outcome> {
  const lines: string[] = []
  await using graph = newGraph(lines)
  const file = { driver: 'file', filename: path, locking: 'off' }
  try {
    const disk = await graph.addUnchecked({ driver: 'qcow2', readOnly: repair === 'none', file }, { check: true })
    const onFinding = (_kind: string, text: string): unknown => lines.push(text)
    const first = await disk.check({ repair, onFinding })
    const again = first.corruptionsFixed > 0 || first.leaksFixed > 0
    const last = again ? await disk.check({ repair: 'none', onFinding }) : first
    await disk.close()
    return { lines: lines.join('\n'), figures: figuresOf(last, first), error: '' }
  } catch (error) {
    const { code, message, hint } = error as BlockError
    return { lines: lines.join('\n'), figures: undefined, error: `${code} ${message} ${hint ?? ''}`.trim() }
  }
}

function theirCheck(path: string, repair: Repair): Outcome {
  const flags = repair === 'none' ? [] : ['-r', repair]
  const args = ['check', '-f', 'qcow2', '--output=json', ...flags, path]
  const { stdout, stderr } = spawnSync('qemu-img', args, { encoding: 'utf8' })
  return {
    lines: stderr.trim(),
    figures: stdout === '' ? undefined : withoutZeroes(JSON.parse(stdout)),
    error: '',
  }
}

/** Where this driver differs from QEMU 7.2 on purpose. */
const differs: Readonly<Record<string, readonly Repair[]>> = {
  // The L2 table of an L1 entry that is not aligned is not looked into.
  'an L1 entry that is not aligned': ['none', 'leaks', 'all'],
  // Reserved bits and flags that must not be set are cleared.
  'an L2 entry with reserved bits': ['all'],
  'an L2 entry of nothing but reserved bits': ['all'],
  'an L1 entry with reserved bits': ['all'],
  'a compressed entry with the copied flag': ['all'],
  // These repairs fail in QEMU, or mark the image as corrupt.
  'a refcount table entry with reserved bits': ['all'],
  'a refcount block that is not aligned': ['none', 'all'],
  // The file is not enlarged to where a damaged entry points.
  'a refcount block behind the file': ['all'],
  'a second refcount block behind the file': ['all'],
  'a refcount block at 2^62': ['all'],
  // A new refcount structure goes behind the end of the file, never into a gap.
  'no refcount block': ['all'],
  'a refcount block that is data': ['all'],
  'a refcount table behind the file': ['all'],
  'a refcount table that is data': ['all'],
  // A count above 2^53 is not exact in this line.
  'a 64-bit count that is huge': ['none'],
  // Errors that end a check are reported by the caller, not as findings.
  'a snapshot with too much extra data': ['none'],
  'a snapshot table that is not aligned': ['none', 'all'],
  // QEMU complains about freeing the old table.
  'a snapshot table behind the file': ['all'],
}

/** Damage that neither repairs: what was lost is lost. */
const hopeless = [
  'a data entry that is not aligned',
  'an L1 entry that is not aligned',
  'a data entry far behind the file',
  'a data entry at 2^55',
  'an L2 table behind the file',
  'an L1 table behind the file',
  'a compressed entry behind the file',
  'a file cut in its data',
  'one-bit counts that overflow',
  'a snapshot whose L1 table is not aligned',
  'a snapshot whose L1 table is behind the file',
  'a snapshot whose L1 table is too large',
]

const { describe: withPeer } = peer('qemu-img', { describe, it })

withPeer('a check', () => {
  for (const damage of damages) {
    it(`finds what qemu-img finds: ${damage.name}`, async () => {
      using folder = new Folder()
      const { path } = makePatient(folder.file('a'), damage)
      const [ours, theirs] = [await ourCheck(path, 'none'), theirCheck(path, 'none')]
      if (!differs[damage.name]?.includes('none')) expect(ours).toEqual(theirs)
      else if (theirs.figures === undefined) expect(ours.figures).toBeUndefined()
    })

    it(`with repair leaves the image in order: ${damage.name}`, async () => {
      using folder = new Folder()
      const { path } = makePatient(folder.file('a'), damage)
      copyFileSync(path, folder.file('b'))
      const ours = await ourCheck(path, 'all')
      const theirs = theirCheck(folder.file('b'), 'all')
      if (!differs[damage.name]?.includes('all')) expect(ours).toEqual(theirs)
      if (damage.name === 'a snapshot table that is not aligned') return
      expect(qemuCheck(path).code).toBe(hopeless.includes(damage.name) ? 2 : 0)
      if (hopeless.includes(damage.name)) return
      expect(Number(new Patient(path).get(72)) & 3).toBe(0)
    })
  }

  for (const damage of damages.filter(({ name }) => !/huge|L1 entry that is not|refcount (table|block)/.test(name))) {
    it(`repairs leaks alone as qemu-img does: ${damage.name}`, async () => {
      using folder = new Folder()
      const { path } = makePatient(folder.file('a'), damage)
      copyFileSync(path, folder.file('b'))
      const ours = await ourCheck(path, 'leaks')
      const theirs = theirCheck(folder.file('b'), 'leaks')
      expect(ours.figures).toEqual(theirs.figures)
      expect(qemuCheck(path).code).toBe(qemuCheck(folder.file('b')).code)
      if (theirs.figures !== undefined) expect(ours.lines).toBe(theirs.lines)
    })
  }
})

/** Sets every byte of the counts of the first clusters. */
function setCounts(image: Patient, value: number): void {
  for (let at = 0; at < 512; at += 8) image.set(image.refcountBlock + at, value)
}

/** Damage to the refcount structure of an image of any geometry. */
const structures: readonly Damage[] = [
  { name: 'without refcount blocks', harm: (i) => i.set(i.refcountTable, 0) },
  { name: 'with a wrong refcount table', harm: (i) => i.set(48, i.l1) },
  { name: 'with all counts 0', harm: (i) => setCounts(i, 0) },
  {
    name: 'with all counts too high',
    harm: (i) => setCounts(i, -1),
  },
]

withPeer('a repair', () => {
  for (const options of [
    {},
    { clusterSize: 512, refcountBits: 64 },
    { clusterSize: 4096, refcountBits: 1 },
    { compat: 'v2', clusterSize: 1024 },
  ]) {
    for (const { name, harm } of structures) {
      it(`loses nothing of an image ${name}, made with ${JSON.stringify(options)}`, async () => {
        using folder = new Folder()
        const path = folder.file('a')
        await using graph = newGraph()
        await create(graph, path, { size: 8 * 1024 * 1024, ...options })
        const disk = await open(graph, path)
        const data = new Uint8Array(3_000_000).map((_, i) => (i * 7 + (i >> 9)) & 0xff)
        await disk.write(12_345, data)
        await disk.close()
        run('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', path, folder.file('before'))
        harm(new Patient(path))
        await ourCheck(path, 'all')
        expect(qemuCheck(path)).toMatchObject({ code: 0 })
        run('qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', path, folder.file('after'))
        expect(Buffer.compare(readFileSync(folder.file('after')), readFileSync(folder.file('before')))).toBe(0)
      })
    }
  }

  it('of an image that was not closed properly comes with opening it for writing', async () => {
    using folder = new Folder()
    const path = folder.file('a')
    makePatient(path, { name: '', harm: leaveDirty })
    const warnings: string[] = []
    await using graph = newGraph(warnings)
    const disk = await open(graph, path)
    expect(warnings).toEqual(theirOpening(folder))
    await disk.write(0, new Uint8Array(512))
    await disk.close()
    expect(Number(new Patient(path).get(72))).toBe(0)
    expect(qemuCheck(path)).toMatchObject({ code: 0 })
  })

  it('is refused on a read-only image', async () => {
    using folder = new Folder()
    const path = folder.file('a')
    makePatient(path, { name: '', harm: () => {} })
    await using graph = newGraph()
    const disk = await open(graph, path, { readOnly: true })
    await expect(disk.check({ repair: 'all' })).rejects.toMatchObject({ code: 'EROFS' })
  })

  it('can be aborted', async () => {
    using folder = new Folder()
    const path = folder.file('a')
    makePatient(path, { name: '', harm: () => {} })
    await using graph = newGraph()
    const disk = await open(graph, path, { readOnly: true })
    const signal = AbortSignal.abort()
    await expect(disk.check({ repair: 'none', signal })).rejects.toMatchObject({ code: 'ECANCELED' })
  })
})

/** What qemu-io prints while it opens a dirty image with a count of 0. */
function theirOpening(folder: Folder): string[] {
  const path = folder.file('theirs')
  makePatient(path, { name: '', harm: leaveDirty })
  const { stderr } = spawnSync('qemu-io', ['-f', 'qcow2', '-c', 'length', path], { encoding: 'utf8' })
  return stderr.trim().split('\n')
}
