import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { runImg } from '../src/img/main.ts'
import { runProgram } from '../src/main.ts'
import { runDiskgraph } from '../src/people/main.ts'
import { capturedTerminal } from './captured-terminal.ts'

const before = process.cwd()
let folder = ''

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'random-lines-'))
  process.chdir(folder)
  for (const words of [
    ['create', '-q', 'raw.img', '1M'],
    ['create', '-q', '-f', 'qcow2', 'a.qcow2', '1M'],
    ['create', '-q', '-f', 'qcow2', '-b', 'a.qcow2', '-F', 'qcow2', 'b.qcow2'],
    ['create', '-q', '-u', '-f', 'qcow2', '-b', 'loop.qcow2', '-F', 'qcow2', './loop.qcow2', '1M'],
  ]) {
    expect(await runProgram(runImg, words, capturedTerminal())).toBe(0)
  }
  writeFileSync('junk', Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 7919) % 256)))
  writeFileSync('empty', '')
})

afterAll(() => {
  process.chdir(before)
  rmSync(folder, { recursive: true, force: true })
})

const commands = [
  'amend',
  'bitmap',
  'check',
  'compare',
  'create',
  'info',
  'map',
  'measure',
  'resize',
  'snapshot',
  'frobnicate',
  '',
]
const ownCommands = ['inspect', 'tree', 'drivers', 'help', 'tuor']
const words = [
  'raw.img',
  'a.qcow2',
  'b.qcow2',
  'loop.qcow2',
  'junk',
  'empty',
  'nofile',
  '.',
  '/',
  '',
  '-',
  '--',
  'json:{}',
  'json:{"driver":"qcow2"}',
  'json:[1]',
  'json:{"driver":"qcow2","file":"x"}',
  'json:{"driver":"raw","file":{"driver":"raw"}}',
  'http:',
  'file:',
  'blkdebug::',
  'null-co://',
  ':x',
  'x:y',
  '1M',
  '-1M',
  '+1k',
  '0',
  '-0',
  '1e9',
  'NaN',
  '0x',
  '99999999999999999999',
  '8E',
  '7E',
  '1.5.5',
  '512',
  'on',
  '-f',
  '-fraw',
  '-fqcow2',
  '-ffile',
  '-f\u0000',
  '-F',
  '-O',
  '-Oqcow2',
  '-o',
  '-ohelp',
  '-osize=1M',
  '-ocluster_size=1',
  '-olazy_refcounts=on',
  '-o=,',
  '-b',
  '-u',
  '-q',
  '-s',
  '-l',
  '-a',
  '-c',
  '-d',
  '-r',
  '-rall',
  '-rleaks',
  '-U',
  '-p',
  '-T',
  '-Tnone',
  '-tnone',
  '-h',
  '-qqq',
  '-Z',
  '--output=json',
  '--output=',
  '--output',
  '--image-opts',
  '--object',
  '--object=secret,id=x,data=y',
  '--object=secret',
  '--object=a=b',
  '--backing-chain',
  '--force-share',
  '--shrink',
  '--preallocation=full',
  '--preallocation',
  '--size',
  '--size=1G',
  '--start-offset=1',
  '--max-length=4k',
  '--force',
  '--add',
  '--merge',
  '--untrusted',
  '--json',
  '--progress=json',
  '--progress=',
  '--no-color',
  'driver=qcow2,file.filename=a.qcow2',
  'driver=raw,file.driver=file,file.filename=raw.img',
  'driver=,',
  'file.=x',
  '.=',
  'a.b=1,a=2',
  '__proto__=1',
  'driver=qcow2,__proto__.x=1',
  'driver=raw,file.filename=raw.img,size=-1',
]

test('no command line ends in a stack, an unknown exit code, or silence about an error', async () => {
  const seed = Number(process.env.SEED ?? Date.now() % 1e9)
  console.log(`seed ${seed}`)
  let state = seed
  const random = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
  for (let i = 0; i < 400; i++) {
    const own = random(5) === 0
    const list = own ? [...commands, ...ownCommands] : commands
    const line = [
      list[random(list.length)] as string,
      ...Array.from({ length: random(6) }, () => words[random(words.length)] as string),
    ]
    const terminal = capturedTerminal(own ? 'diskgraph' : 'dg-img', { forPeople: own })
    const code = await runProgram(own ? runDiskgraph : runImg, line, terminal)
    const what = `seed ${seed}: ${JSON.stringify(line)} → ${code}\n${terminal.stdout}${terminal.stderr}`
    expect([0, 1, 2, 3, 4, 63], what).toContain(code)
    expect(terminal.stderr, what).not.toMatch(
      /\n {4}at |TypeError|ReferenceError|is not a function|undefined|\[object|Cannot read prop/,
    )
    if (code === 1 && !terminal.stdout.includes('mismatch'))
      expect(terminal.stderr + terminal.stdout, what).not.toBe('')
  }
}, 120_000)
