import { spawnSync } from 'node:child_process'
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { Random } from '@diskgraph/driver-testkit'
import { it } from 'vitest'
import { makePatient, Patient } from './damage.ts'
import { Folder, newGraph } from './images.ts'

it('fuzz', async () => {
  using folder = new Folder()
  const seed = Number(process.env.SEED ?? Date.now() % 1e9)
  const out: string[] = [`seed ${seed}`]
  const random = new Random(seed)
  const bases: Buffer[] = []
  for (const [options, snapshots] of [
    [undefined, false],
    [undefined, true],
    ['cluster_size=512', true],
    ['cluster_size=4096,refcount_bits=8', true],
    ['cluster_size=4k,refcount_bits=1', false],
    ['refcount_bits=64,cluster_size=4k', true],
  ] as const) {
    const p = folder.file('b')
    makePatient(p, { name: '', ...(options ? { options } : {}), snapshots, harm: () => {} })
    bases.push(readFileSync(p))
  }
  let n = 0,
    same = 0,
    sameAll = 0
  const end = Date.now() + Number(process.env.SECS ?? 40) * 1000
  while (Date.now() < end) {
    n++
    const base = bases[random.below(bases.length)]!
    const t = folder.file('t'),
      o = folder.file('o')
    writeFileSync(t, base)
    const p = new Patient(t)
    const cs = 1 << Number(p.get(20, 4))
    const snap = p.snapshotTable
    const places = [p.l1, p.l2, p.l2, p.refcountTable, p.refcountBlock, p.refcountBlock, ...(snap ? [snap, snap] : [])]
    const what: string[] = []
    for (let k = 1 + random.below(3); k > 0; k--) {
      const place = places[random.below(places.length)]! + random.below(random.below(2) ? 8 : Math.min(64, cs / 8)) * 8
      const old = p.get(place)
      const bit = 1n << BigInt(random.below(64))
      const clusterRef = BigInt(random.below(16)) * BigInt(cs)
      const v = random.pick([
        old ^ bit,
        0n,
        clusterRef,
        clusterRef | (1n << 63n),
        clusterRef | 1n,
        clusterRef | (1n << 62n),
        old + 512n,
        BigInt(random.below(2 ** 32)) << BigInt(random.below(32)),
        old + BigInt(cs),
      ])
      p.set(place, v)
      what.push(`${place.toString(16)}:${old.toString(16)}->${v.toString(16)}`)
    }
    copyFileSync(t, o)
    writeFileSync(folder.file('orig'), readFileSync(t))
    for (const repair of ['none', 'all'] as const) {
      copyFileSync(folder.file('orig'), t)
      copyFileSync(folder.file('orig'), o)
      const r = spawnSync(
        'qemu-img',
        ['check', '-f', 'qcow2', '--output=json', ...(repair === 'none' ? [] : ['-r', repair]), t],
        { encoding: 'utf8', timeout: 20000 },
      )
      let tj: any = {}
      try {
        tj = JSON.parse(r.stdout)
      } catch {}
      const lines: string[] = []
      let res: any,
        second: any,
        err = ''
      try {
        await using graph = newGraph(lines)
        const d = await graph.addUnchecked(
          { driver: 'qcow2', readOnly: repair === 'none', file: { driver: 'file', filename: o, locking: 'off' } },
          { check: true } as never,
        )
        res = await d.check({ repair, onFinding: (_k, t) => lines.push(t) })
        second = res
        if (repair !== 'none' && (res.corruptionsFixed || res.leaksFixed))
          second = await d.check({ repair: 'none', onFinding: (_k, t) => lines.push(t) })
        await d.close()
      } catch (e) {
        err = `${(e as any).code} ${(e as Error).message} ${(e as Error).stack?.split('\n')[1]}`
      }
      const f = (x: any) =>
        x
          ? `${x.corruptions} ${x.leaks} ${x.checkErrors} a${x.allocatedClusters} f${x.fragmentedClusters} c${x.compressedClusters}`
          : err
      const q = r.stdout
        ? `${tj.corruptions ?? 0} ${tj.leaks ?? 0} ${tj['check-errors']} a${tj['allocated-clusters'] ?? 0} f${tj['fragmented-clusters'] ?? 0} c${tj['compressed-clusters'] ?? 0}`
        : r.stderr.trim().split('\n').slice(-1)[0]
      if (repair === 'none') {
        if (lines.join('\n') === r.stderr.trim() && f(second) === q) same++
        else {
          const th = r.stderr.trim().split('\n')
          const i = th.findIndex((l, k) => l !== lines[k])
          out.push(`NONE ${what} ours[${f(second)}] qemu[${q}]\n   - ${th[i]}\n   + ${lines[i] ?? lines.slice(-1)}`)
        }
      } else {
        const after = spawnSync('qemu-img', ['check', '-f', 'qcow2', o], { encoding: 'utf8' })
        const afterT = spawnSync('qemu-img', ['check', '-f', 'qcow2', t], { encoding: 'utf8' })
        if (after.status === 0 || after.status === afterT.status) sameAll++
        else
          out.push(
            `ALL ${what} after ours=${after.status} theirs=${afterT.status} ours[${f(second)}] qemu[${q}]\n${after.stderr.split('\n').slice(0, 4).join('\n')}\n   >> ${lines.slice(0, 12).join('\n   >> ')}`,
          )
      }
    }
  }
  out.push(`${n} runs, none same ${same}, all ok ${sameAll}`)
  console.log(out.join('\n'))
}, 600000)
