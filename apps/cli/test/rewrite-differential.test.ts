/** `commit`, `rebase`, `dd` and `bench` of dg-img against the real qemu-img. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { runImg } from '../src/img/main.ts'
import { hasQemu, Twins } from './compare/twins.ts'

const commit = [
  'commit top.qcow2',
  'commit -d top.qcow2',
  'commit -b base.raw top.qcow2',
  'commit -b mid.qcow2 top.qcow2',
  'commit -f qcow2 mid.qcow2',
  'commit -q mid.qcow2',
  'commit -p -q mid.qcow2',
  'commit -t none mid.qcow2',
  'commit -t writethrough top.qcow2',
  'commit -r 100M top.qcow2',
  'commit --image-opts driver=qcow2,file.filename=mid.qcow2',
  'commit on-long.qcow2',
  'commit -b gone top.qcow2',
  'commit -b top.qcow2 top.qcow2',
  'commit base.raw',
  'commit -f raw base.raw',
  'commit gone',
  'commit',
  'commit top.qcow2 mid.qcow2',
  'commit -x top.qcow2',
  'commit -t foo top.qcow2',
  'commit -r foo top.qcow2',
  'commit --image-opts -f qcow2 driver=qcow2,file.filename=mid.qcow2',
  'commit lone.qcow2',
  'commit orphan.qcow2',
]

const rebase = [
  'rebase -b base.raw -F raw top.qcow2',
  'rebase -b base2.raw -F raw mid.qcow2',
  'rebase -b short.raw -F raw mid.qcow2',
  'rebase -b long.raw -F raw mid.qcow2',
  'rebase -b |EMPTY| top.qcow2',
  'rebase -b |EMPTY| mid.qcow2',
  'rebase -u -b base2.raw -F raw mid.qcow2',
  'rebase -u -b gone -F raw top.qcow2',
  'rebase -u -b |EMPTY| top.qcow2',
  'rebase -u top.qcow2',
  'rebase -u -b mid.qcow2 -F qcow2 orphan.qcow2',
  'rebase -b mid.qcow2 -F qcow2 top.qcow2',
  'rebase -b mid.qcow2 -F qcow2 lone.qcow2',
  'rebase -b base.raw -F raw lone.qcow2',
  'rebase -b ../base2.raw -F raw folder/over.qcow2',
  'rebase -U -b base.raw -F raw top.qcow2',
  'rebase -t none -T none -b base2.raw -F raw mid.qcow2',
  'rebase --image-opts -b base.raw -F raw driver=qcow2,file.filename=top.qcow2',
  'rebase -p -q -b base.raw -F raw top.qcow2',
  'rebase -b base.raw top.qcow2',
  'rebase -u -b base.raw top.qcow2',
  'rebase -u -b gone -F nosuch top.qcow2',
  'rebase -b gone -F raw top.qcow2',
  'rebase -b base2.raw -F qcow2 top.qcow2',
  'rebase -b base.raw -F nosuch top.qcow2',
  'rebase top.qcow2',
  'rebase -b x',
  'rebase -b x a b',
  'rebase -b base.raw gone',
  'rebase -b base.raw -F raw base2.raw',
  'rebase -b base.raw -F raw -f raw base2.raw',
  'rebase -u -b base.raw -F raw -f raw base2.raw',
  'rebase -t foo -b base.raw -F raw top.qcow2',
  'rebase -T foo -b base.raw -F raw top.qcow2',
  'rebase -x -b base.raw -F raw top.qcow2',
  'rebase --image-opts -f qcow2 -b base.raw -F raw driver=qcow2,file.filename=top.qcow2',
  'rebase -b base2.raw -F raw folder/over.qcow2',
  'rebase -b base.raw -F raw orphan.qcow2',
]

const dd = [
  'dd if=mid.qcow2 of=o',
  'dd -f raw if=base.raw of=o',
  'dd -f raw bs=1M count=1 if=base.raw of=o',
  'dd -f raw bs=1M skip=1 if=base.raw of=o',
  'dd -f raw bs=1M skip=5 if=base.raw of=o',
  'dd -f raw bs=1M skip=5 count=1 if=base.raw of=o',
  'dd -f raw bs=1000 count=3 skip=1 if=base.raw of=o',
  'dd -f raw bs=2M skip=1 if=base.raw of=o',
  'dd -f raw count=0 if=base.raw of=o',
  'dd -f raw count=2k if=base.raw of=o',
  'dd -f qcow2 -O qcow2 if=top.qcow2 of=o',
  'dd --image-opts if=driver=qcow2,file.filename=top.qcow2 of=o',
  'dd -U -f raw if=base.raw of=o',
  'dd -f raw if=base.raw if=base2.raw of=o',
  'dd -f raw if=odd of=o',
  'dd -- if=mid.qcow2 of=o',
  'dd -f raw bs=0 if=base.raw of=o',
  'dd -f raw bs=3G if=base.raw of=o',
  'dd -f raw bs=x if=base.raw of=o',
  'dd -f raw bs=-1 if=base.raw of=o',
  'dd -f raw count=x if=base.raw of=o',
  'dd -f raw count=99999999999999999999 if=base.raw of=o',
  'dd -f raw skip=x if=base.raw of=o',
  'dd -f raw foo=x if=base.raw of=o',
  'dd -f raw foo if=base.raw of=o',
  'dd -f raw seek=1 if=base.raw of=o',
  'dd -f raw if=base.raw',
  'dd -f raw of=base.raw',
  'dd',
  'dd -f raw if=gone of=o',
  'dd -O nosuch if=base.raw of=o',
  'dd -f qcow2 if=base.raw of=o',
  'dd -O null-co if=top.qcow2 of=o',
  'dd -x if=top.qcow2 of=o',
  'dd -f raw if=base.raw of=/no/such/o',
  'dd --image-opts -f raw if=driver=qcow2,file.filename=top.qcow2 of=o',
]

const bench = [
  'bench -c 100 -f raw base.raw',
  'bench -f raw -c 10 -d 2 base.raw',
  'bench -f raw -c 10 -w base.raw',
  'bench -f raw -c 10 -w --pattern=255 -s 64k -S 128k -o 1k base.raw',
  'bench -c 50 -w -s 8k --pattern=7 top.qcow2',
  'bench -f raw -w -c 200 --flush-interval=64 base.raw',
  'bench -f raw -w -c 200 --flush-interval=64 --no-drain base.raw',
  'bench -f raw -w -c 8 --flush-interval=4 -d 4 base.raw',
  'bench -f raw -c 10 --no-drain base.raw',
  'bench -f raw -c 10 --pattern=3 base.raw',
  'bench -f raw -c 0 base.raw',
  'bench -f raw -c 5 -S 0 base.raw',
  'bench -f raw -s 0 -c 5 base.raw',
  'bench -f raw -t none -c 10 base.raw',
  'bench -f raw -q -c 10 base.raw',
  'bench -f raw -U -c 10 base.raw',
  'bench --image-opts -c 5 driver=raw,file.filename=base.raw',
  'bench -w base.raw -c 5',
  'bench -f raw -c 10 -w --flush-interval=4 base.raw',
  'bench -f raw -c 10 --flush-interval=4 base.raw',
  'bench -f raw -c 10 --pattern=300 -w base.raw',
  'bench -f raw -c x base.raw',
  'bench -f raw -c -1 base.raw',
  'bench -f raw -d x base.raw',
  'bench -f raw -d -1 base.raw',
  'bench -f raw -o x base.raw',
  'bench -f raw -o 3M base.raw',
  'bench -f raw -s x base.raw',
  'bench -f raw -s 3G base.raw',
  'bench -f raw -s 4M -c 2 base.raw',
  'bench -f raw -S x base.raw',
  'bench -f raw -S 3G base.raw',
  'bench -f raw -t foo base.raw',
  'bench -f raw -n -c 10 base.raw',
  'bench -f raw -i native -c 10 base.raw',
  'bench -f raw -i foo -c 10 base.raw',
  'bench -f raw -U -w -c 10 base.raw',
  'bench',
  'bench a b',
  'bench gone',
  'bench -x gone',
  'bench --flush-interval=x -w base.raw',
  'bench --flush-interval=-1 -w base.raw',
  'bench -f raw -c 1 -o 2097152 base.raw',
]

const prepare = `
  qemu-img create -q -f raw base.raw 2M
  qemu-io -f raw base.raw -c 'write -q -P 1 0 2M'
  qemu-img create -q -f raw base2.raw 2M
  qemu-io -f raw base2.raw -c 'write -q -P 1 0 1M' -c 'write -q -P 9 1M 512k'
  qemu-img create -q -f raw short.raw 700k
  qemu-io -f raw short.raw -c 'write -q -P 1 0 600k'
  qemu-img create -q -f raw long.raw 8M
  qemu-io -f raw long.raw -c 'write -q -P 8 0 8M'
  qemu-img create -q -f qcow2 -b base.raw -F raw mid.qcow2
  qemu-io -f qcow2 mid.qcow2 -c 'write -q -P 2 512k 512k'
  qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 top.qcow2 4M
  qemu-io -f qcow2 top.qcow2 -c 'write -q -P 3 768k 512k' -c 'write -q -z 1536k 64k' -c 'write -q -P 4 3M 70000'
  qemu-img create -q -f qcow2 -b long.raw -F raw short-mid.qcow2 1M
  qemu-img create -q -f qcow2 -b short-mid.qcow2 -F qcow2 on-long.qcow2 4M
  qemu-io -f qcow2 on-long.qcow2 -c 'write -q -P 5 0 100k' -c 'write -q -P 6 3M 64k'
  qemu-img create -q -f qcow2 lone.qcow2 4M
  qemu-io -f qcow2 lone.qcow2 -c 'write -q -P 7 1M 64k'
  qemu-img create -q -f qcow2 -u -b gone -F raw orphan.qcow2 1M
  mkdir folder
  qemu-img create -q -f qcow2 -b ../base.raw -F raw folder/over.qcow2
  printf abc > odd
`

/** All images that a command may change. */
const images = [
  'base.raw',
  'mid.qcow2',
  'top.qcow2',
  'on-long.qcow2',
  'short-mid.qcow2',
  'lone.qcow2',
  'folder/over.qcow2',
  'o',
]

describe.skipIf(!hasQemu).each(Object.entries({ commit, rebase, dd, bench }))(
  'dg-img %s does as qemu-img does',
  (_, lines) => {
    let twins: Twins
    beforeAll(() => {
      twins = new Twins()
    })
    afterAll(() => twins.remove())

    test.each(lines)('%s', async (line) => {
      twins.prepare(prepare)
      const words = line.split(' ').map((word) => (word === '|EMPTY|' ? '' : word))
      const theirs = twins.runTheirs('qemu-img', words)
      expect(await twins.runOurs('qemu-img', runImg, words)).toEqual(theirs)
      for (const name of images) {
        const [ours, other] = [join(twins.ours, name), join(twins.theirs, name)]
        expect(existsSync(ours), name).toBe(existsSync(other))
        if (!existsSync(ours)) continue
        expect(facts(twins.ours, name), name).toEqual(facts(twins.theirs, name))
        const compared = spawnSync('qemu-img', ['compare', ours, other], { encoding: 'utf8' })
        if (compared.stderr.includes('Could not open backing file')) continue
        expect(compared.stdout + compared.stderr, name).toBe('Images are identical.\n')
        if (!name.endsWith('qcow2')) continue
        const check = spawnSync('qemu-img', ['check', '-f', 'qcow2', ours], { encoding: 'utf8' })
        expect(check.stdout, name).toContain('No errors were found')
      }
    })
  },
)

/** What an image says of itself, and which parts it holds itself. */
function facts(folder: string, name: string): unknown {
  const ask = (...words: string[]): string => spawnSync('qemu-img', words, { cwd: folder, encoding: 'utf8' }).stdout
  const { 'actual-size': _, ...info } = JSON.parse(ask('info', '--output=json', name) || '{}')
  if (!name.endsWith('qcow2')) return info
  const map = JSON.parse(ask('map', '--output=json', name) || '[]') as {
    depth: number
    start: number
    length: number
  }[]
  return { info, own: merged(map.filter(({ depth }) => depth === 0)) }
}

/** Neighbours as one: where in the file clusters stand may differ. */
function merged(runs: readonly { start: number; length: number }[]): number[][] {
  const result: [number, number][] = []
  for (const { start, length } of runs) {
    const last = result[result.length - 1]
    if (last !== undefined && last[0] + last[1] === start) last[1] += length
    else result.push([start, length])
  }
  return result
}
