import { spawnSync } from 'node:child_process'
import { copyFileSync } from 'node:fs'
import { it } from 'vitest'
import { damages, makePatient } from './damage.ts'
import { Folder, newGraph } from './images.ts'

it('matrix', async () => {
  using folder = new Folder()
  const out: string[] = []
  for (const damage of damages) {
    const base = folder.file('base')
    makePatient(base, damage)
    for (const repair of ['none', 'leaks', 'all'] as const) {
      const [t, o] = [folder.file('t'), folder.file('o')]
      copyFileSync(base, t)
      copyFileSync(base, o)
      const r = spawnSync(
        'qemu-img',
        ['check', '-f', 'qcow2', '--output=json', ...(repair === 'none' ? [] : ['-r', repair]), t],
        { encoding: 'utf8' },
      )
      const theirs = r.stderr.trim().split('\n')
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
        err = `${(e as any).code} ${(e as Error).message} ${(e as any).hint ?? ''}`
      }
      const after = spawnSync('qemu-img', ['check', '-f', 'qcow2', o], { encoding: 'utf8' })
      const f = (x: any) =>
        JSON.stringify(
          x && {
            c: x.corruptions,
            l: x.leaks,
            e: x.checkErrors,
            end: x.imageEndOffset,
            a: x.allocatedClusters,
            f: x.fragmentedClusters,
            cc: x.compressedClusters,
          },
        )
      const q = JSON.stringify({
        c: tj.corruptions ?? 0,
        l: tj.leaks ?? 0,
        e: tj['check-errors'],
        end: tj['image-end-offset'],
        a: tj['allocated-clusters'] ?? 0,
        f: tj['fragmented-clusters'] ?? 0,
        cc: tj['compressed-clusters'] ?? 0,
      })
      const fx = `fixed ours ${res?.corruptionsFixed}/${res?.leaksFixed} theirs ${tj['corruptions-fixed'] ?? 0}/${tj['leaks-fixed'] ?? 0}`
      const same =
        lines.join('\n') === theirs.join('\n') &&
        f(second) === q &&
        `${res?.corruptionsFixed}/${res?.leaksFixed}` === `${tj['corruptions-fixed'] ?? 0}/${tj['leaks-fixed'] ?? 0}`
      out.push(
        `${same ? 'SAME' : 'DIFF'} ${damage.name} [${repair}] after=${after.status} theirs rc=${r.status} ${err}`,
      )
      if (!same) {
        out.push(`   ours ${f(second)}\n   qemu ${q}  ${fx}`)
        if (lines.join('\n') !== theirs.join('\n')) {
          const n = Math.max(lines.length, theirs.length)
          let shown = 0
          for (let i = 0; i < n && shown < 6; i++)
            if (lines[i] !== theirs[i]) {
              out.push(`     - ${theirs[i]}\n     + ${lines[i]}`)
              shown++
            }
        }
      }
    }
  }
  console.log(out.join('\n'))
}, 120000)
