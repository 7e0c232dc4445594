/** `map` of generated images, preallocated ones among them, against the real qemu-img. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { peer, Random, randomSeed } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { runImg } from '../src/img/main.ts'
import { capturedTerminal } from './captured-terminal.ts'

const seed = Number(process.env.SEED ?? randomSeed())
const run = (program: string, ...words: string[]): string => execFileSync(program, words, { encoding: 'utf8' })

/** Makes an image by a random sequence of the real tools. */
function makeImage(random: Random, name: string, base: string): void {
  const pick = <T>(...choices: T[]): T => choices[random.below(choices.length)] as T
  const size = random.chance(0.5) ? random.between(1, 12) * 64 : random.between(1, 32) * 64
  const compat = pick('0.10', '1.1', '1.1')
  const preallocation = pick('off', 'metadata', 'metadata', 'falloc', 'full')
  const cluster = pick('4k', '64k', '64k', '256k')
  const backed = preallocation === 'off' && random.chance(0.5)
  const options = `compat=${compat},preallocation=${preallocation},cluster_size=${cluster}`
  const backing = backed ? ['-b', base, '-F', 'raw'] : []
  run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', options, ...backing, name, `${size}k`)
  const commands: string[] = []
  for (let i = random.below(6); i > 0; i--) {
    const offset = random.below(size)
    const length = random.between(1, Math.min(size - offset, 300))
    commands.push('-c', `${pick('write -P 5', 'write -z', 'write -z -u', 'discard')} ${offset}k ${length}k`)
  }
  if (commands.length > 0) run('qemu-io', '-f', 'qcow2', ...commands, name)
  if (random.chance(0.5)) {
    const mode = backed ? 'off' : pick('off', 'metadata', 'falloc', 'full')
    if (compat === '1.1' || !backed) {
      run('qemu-img', 'resize', '-q', `--preallocation=${mode}`, name, `${size + random.between(1, 20) * 32}k`)
    }
  }
}

peer('qemu-img', { describe, it }).describe(`map of generated images (seed ${seed})`, () => {
  for (let number = 0; number < 40; number++) {
    it(`tells what qemu-img tells, of image ${number}`, async () => {
      const folder = mkdtempSync(join(tmpdir(), 'map-'))
      try {
        const [base, name] = [join(folder, 'base'), join(folder, 'image')]
        run('qemu-img', 'create', '-q', '-f', 'raw', base, '700k')
        run('qemu-io', '-f', 'raw', '-c', 'write -P 7 100k 300k', base)
        makeImage(new Random(seed + number), name, base)
        const terminal = capturedTerminal()
        expect(await runImg(['map', '--output=json', name], terminal), terminal.stderr).toBe(0)
        expect(JSON.parse(terminal.stdout)).toEqual(JSON.parse(run('qemu-img', 'map', '--output=json', name)))
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
    })
  }
})

const stacks = [
  'driver=blkdebug,align=4k,image.driver=qcow2,image.file.filename=image',
  'driver=raw,file.driver=qcow2,file.file.filename=image',
  'driver=raw,offset=64k,size=256k,file.driver=qcow2,file.file.filename=image',
  'driver=raw,file.driver=blkdebug,file.image.driver=qcow2,file.image.file.filename=image',
  'driver=blkdebug,image.driver=raw,image.file.driver=qcow2,image.file.file.filename=image',
  'driver=qcow2,file.driver=blkdebug,file.image.filename=image',
  'driver=raw,file.driver=null-co,file.size=1M',
  'driver=blkdebug,image.driver=null-co,image.size=1M,image.read-zeroes=on',
]

peer('qemu-img', { describe, it }).describe('map through other images', () => {
  for (const stack of stacks) {
    for (const output of ['human', 'json']) {
      it(`tells what qemu-img tells, of ${stack} (${output})`, async () => {
        const folder = mkdtempSync(join(tmpdir(), 'map-'))
        const back = process.cwd()
        try {
          process.chdir(folder)
          run('qemu-img', 'create', '-q', '-f', 'raw', 'base', '700k')
          run('qemu-io', '-f', 'raw', '-c', 'write -P 7 100k 300k', 'base')
          run('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'base', '-F', 'raw', 'image')
          run('qemu-io', '-c', 'write -P 5 64k 64k', '-c', 'write -z 256k 64k', 'image')
          const words = ['map', `--output=${output}`, '--image-opts', stack]
          const terminal = capturedTerminal()
          expect(await runImg(words, terminal), terminal.stderr).toBe(0)
          expect(terminal.stdout).toBe(run('qemu-img', ...words))
        } finally {
          process.chdir(back)
          rmSync(folder, { recursive: true, force: true })
        }
      })
    }
  }
})
