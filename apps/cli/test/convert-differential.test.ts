/** `dg-img convert` against the real qemu-img: same words, same output, same exit code, same content. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { runImg } from '../src/img/main.ts'
import { hasQemu, Twins } from './compare/twins.ts'

/** Words behind `convert`, split at blanks. The last word is the target. */
const good = [
  '-f raw -O raw s.raw o',
  '-f raw -O qcow2 s.raw o',
  '-f qcow2 -O raw s.qcow2 o',
  '-f qcow2 -O qcow2 s.qcow2 o',
  's.qcow2 o',
  '-c -f raw -O qcow2 s.raw o',
  '-c -O qcow2 -o cluster_size=4k s.qcow2 o',
  '-O qcow2 -o cluster_size=512 s.qcow2 o',
  '-O qcow2 -o cluster_size=2M,compat=0.10 s.qcow2 o',
  '-O qcow2 -o preallocation=metadata s.qcow2 o',
  '-O qcow2 -o refcount_bits=1,lazy_refcounts=on s.qcow2 o',
  '-O qcow2 -o size=1P s.qcow2 o',
  '-O qcow2 -o cluster_size=512,size=1P s.qcow2 o',
  '-o size=1k s.qcow2 o',
  '-O raw compressed.qcow2 o',
  '-O qcow2 -c compressed.qcow2 o',
  '-O raw overlay.qcow2 o',
  '-O qcow2 overlay.qcow2 o',
  '-S 512 -f raw s.raw o',
  '-S 64k -f raw s.raw o',
  '-S 0 -f raw s.raw o',
  '-S 0 -O qcow2 s.qcow2 o',
  '-C -f raw -O raw s.raw o',
  '-m 1 s.qcow2 o',
  '-m 16 -W s.qcow2 o',
  '-m 16 -W -c -O qcow2 s.qcow2 o',
  '-r 500M s.qcow2 o',
  '-r 0 s.qcow2 o',
  '-l one s.qcow2 o',
  '-l 1 s.qcow2 o',
  '-l snapshot.name=one s.qcow2 o',
  '-l snapshot.id=1,snapshot.name=one s.qcow2 o',
  '-n -f raw -O qcow2 s.raw target.qcow2',
  '-n -f raw -O raw s.raw dirty.raw',
  '-n -O raw s.qcow2 dirty.raw',
  '-n -O qcow2 s.qcow2 dirty.qcow2',
  '-n --target-is-zero -f raw -O raw s.raw empty.raw',
  '-n --target-image-opts s.qcow2 driver=raw,file.filename=dirty.raw',
  '--image-opts driver=qcow2,file.filename=s.qcow2 o',
  '-B s.raw -F raw -O qcow2 overlay.qcow2 o',
  '-B s.raw -F raw -c -O qcow2 overlay.qcow2 o',
  '-B s.raw -F raw -S 0 -O qcow2 overlay.qcow2 o',
  '-O qcow2 -o backing_file=s.raw,backing_fmt=raw overlay.qcow2 o',
  '-B s.raw -F raw -n -O qcow2 overlay.qcow2 dirty-overlay.qcow2',
  '-B short.raw -F raw -O qcow2 overlay.qcow2 o',
  '-f raw -O raw s.raw odd.raw o',
  '-O qcow2 -c s.qcow2 odd.raw overlay.qcow2 o',
  '-f raw odd.raw o',
  '-f raw nothing.raw o',
  '-f raw -O qcow2 nothing.raw o',
  '-U -f raw s.raw o',
  '-t none -T none -f raw s.raw o',
  '-t writethrough s.qcow2 o',
  '-t directsync -O qcow2 s.qcow2 o',
  '-q -p s.qcow2 o',
  '--salvage -f raw -O qcow2 s.raw o',
  '--object secret,id=x,data=y -f raw s.raw o',
  '--bitmaps -O qcow2 s.qcow2 o',
  '-f raw s.raw file:o',
  '--salvage blkdebug:unreadable:s.raw o',
  '-q --salvage -f raw blkdebug:unreadable:s.raw o',
]

const bad = [
  '',
  's.raw',
  '-x s.raw o',
  'missing o',
  '-f nosuch s.raw o',
  '-O nosuch s.raw o',
  '-f qcow2 s.raw o',
  '-c -f raw -O raw s.raw o',
  '-n -f raw -O qcow2 s.raw o',
  '-n -f raw -O raw s.raw short.raw',
  '-n -o size=5M -f raw -O raw s.raw short.raw',
  '--target-is-zero -f raw -O raw s.raw o',
  '-S foo s.raw o',
  '-S 1 s.raw o',
  '-S 700 s.raw o',
  '-S 32M s.raw o',
  '-S 0 -C s.raw o',
  '-C -c -O qcow2 s.raw o',
  '-m 0 s.raw o',
  '-m 17 s.raw o',
  '-m x s.raw o',
  '-l foo s.qcow2 o',
  '-l snapshot.id=7 s.qcow2 o',
  '-l foo=7 s.qcow2 o',
  '-l one s.raw o',
  '-l one s.qcow2 s.qcow2 o',
  '-s one s.qcow2 o',
  '-t foo s.qcow2 o',
  '-T foo s.qcow2 o',
  '-r foo s.qcow2 o',
  '-o foo=1 s.qcow2 o',
  '-o foo=1 missing o',
  '-B s.raw -O qcow2 overlay.qcow2 o',
  '-B s.raw -F raw -O raw overlay.qcow2 o',
  '-F raw -O qcow2 overlay.qcow2 o',
  '-F raw -O raw s.qcow2 o',
  '-B s.raw -F raw -O qcow2 overlay.qcow2 s.qcow2 o',
  '-c -o preallocation=metadata -O qcow2 s.qcow2 o',
  '-c -o encryption=on -O qcow2 s.qcow2 o',
  '--bitmaps -O raw s.qcow2 o',
  '--skip-broken-bitmaps -O qcow2 s.qcow2 o',
  '--image-opts -f qcow2 driver=qcow2,file.filename=s.qcow2 o',
  '--target-image-opts s.qcow2 driver=raw,file.filename=o',
  '--target-image-opts -n -O raw s.qcow2 driver=raw,file.filename=dirty.raw',
  '-f raw s.raw /no/such/folder/o',
  '-f raw s.raw /usr',
  '-O qcow2 s.raw foo:o',
  '-O qcow2 -o cluster_size=700 s.qcow2 o',
  '-O null-co s.raw o',
  '-f raw s.raw s.raw',
  '-f raw blkdebug:unreadable:s.raw o',
]

const prepare = `
  qemu-img create -q -f raw s.raw 4M
  qemu-io -f raw s.raw -c 'write -q -P 1 0 1M' -c 'write -q -P 2 2M 70k' -c 'write -q -P 3 3000000 5' -c 'write -q -z 512k 128k'
  qemu-img create -q -f qcow2 s.qcow2 4M
  qemu-io -f qcow2 s.qcow2 -c 'write -q -P 1 0 1M' -c 'write -q -P 0 2M 200k' -c 'write -q -P 7 2500000 100000' -c 'write -q -z 512k 128k'
  qemu-img snapshot -c one s.qcow2
  qemu-io -f qcow2 s.qcow2 -c 'write -q -P 9 0 512k'
  qemu-img convert -c -O qcow2 s.raw compressed.qcow2
  qemu-img create -q -f qcow2 -b s.raw -F raw overlay.qcow2
  qemu-io -f qcow2 overlay.qcow2 -c 'write -q -P 5 64k 70000' -c 'write -q -z 128k 64k' -c 'write -q -P 6 3M 512'
  qemu-img create -q -f raw short.raw 1M
  qemu-io -f raw short.raw -c 'write -q -P 8 0 1M'
  qemu-img create -q -f raw empty.raw 5M
  cp s.raw dirty.raw
  qemu-io -f raw dirty.raw -c 'write -q -P 11 0 4M'
  qemu-img create -q -f qcow2 target.qcow2 4M
  qemu-img create -q -f qcow2 dirty.qcow2 5M
  qemu-io -f qcow2 dirty.qcow2 -c 'write -q -P 12 0 5M'
  qemu-img create -q -f qcow2 -b s.raw -F raw dirty-overlay.qcow2
  qemu-io -f qcow2 dirty-overlay.qcow2 -c 'write -q -P 12 1M 1M'
  printf '[inject-error]\\nevent = "none"\\niotype = "read"\\nerrno = "5"\\nsector = "1000"\\n' > unreadable
  printf abc > odd.raw
  : > nothing.raw
`

/** What a qcow2 target shows of its making. */
function describeTarget(folder: string, name: string): string {
  const { stdout } = spawnSync('qemu-img', ['info', '--output=json', name], { cwd: folder, encoding: 'utf8' })
  if (stdout === '') return ''
  const { 'actual-size': _, ...rest } = JSON.parse(stdout)
  return JSON.stringify(rest)
}

describe.skipIf(!hasQemu)('dg-img convert does as qemu-img convert does', () => {
  let twins: Twins
  beforeAll(() => {
    twins = new Twins()
  })
  afterAll(() => twins.remove())

  const run = async (line: string) => {
    twins.prepare(prepare)
    const words = ['convert', ...line.split(' ').filter((word) => word !== '')]
    const theirs = twins.runTheirs('qemu-img', words)
    const ours = await twins.runOurs('qemu-img', runImg, words)
    expect(ours).toEqual(theirs)
    return { code: ours.code, target: (words[words.length - 1] as string).replace(/^.*filename=|^file:/, '') }
  }

  test.each(good)('%s', async (line) => {
    const { code, target } = await run(line)
    expect(code).toBe(0)
    const [ours, theirs] = [join(twins.ours, target), join(twins.theirs, target)]
    expect(describeTarget(twins.ours, target)).toBe(describeTarget(twins.theirs, target))
    const compared = spawnSync('qemu-img', ['compare', '-s', ours, theirs], { encoding: 'utf8' })
    // Strict mode tells allocation apart; only what differs in content, or in zeroes and absence, counts here.
    if (compared.status !== 0) {
      const plain = spawnSync('qemu-img', ['compare', ours, theirs], { encoding: 'utf8' })
      expect(plain.stdout + plain.stderr).toBe('Images are identical.\n')
    }
    if (/-O qcow2|qcow2$/.test(line)) {
      const check = spawnSync('qemu-img', ['check', '-f', 'qcow2', ours], { encoding: 'utf8' })
      expect(check.stdout).toContain('No errors were found')
    }
  })

  test.each(['-c', '-c -S 4k', '-c -S 8k', '-c -S 0', '-S 4k', '-S 8k'])(
    '%s finds zeroes in the same units',
    async (options) => {
      await run(`${options} -f raw -O qcow2 -o cluster_size=1k s.raw o`)
      const [ours, theirs] = [twins.ours, twins.theirs].map((cwd) => {
        const { stdout } = spawnSync('qemu-img', ['map', '--output=json', 'o'], { cwd, encoding: 'utf8' })
        return stdout.replace(/, "offset": \d+/g, '')
      })
      expect(ours).toBe(theirs)
    },
  )

  test.each(bad)('%s', async (line) => {
    const { code } = await run(line)
    expect(code).toBe(1)
    expect(existsSync(join(twins.ours, 'o'))).toBe(false)
  })
})
