/** `-p`: the steps and the end are told as by the real tool, to the last character. */
import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { runImg } from '../src/img/main.ts'
import { runProgram } from '../src/main.ts'
import { capturedTerminal } from './captured-terminal.ts'
import { splitWords } from './differential.ts'

const folder = mkdtempSync(join(tmpdir(), 'progress-'))
const at = (name: string): string => join(folder, name)

function real(tool: string, ...words: string[]): string {
  return spawnSync(tool, words, { cwd: folder, encoding: 'utf8' }).stdout
}

describe.skipIf(!existsSync('/usr/bin/qemu-img'))('-p', () => {
  beforeAll(() => {
    real('qemu-img', 'create', '-f', 'qcow2', at('a'), '64M')
    real('qemu-io', '-c', 'write 1M 1M', '-c', 'write 10M 1M', '-c', 'write 33M 1M', '-c', 'write 63M 1M', at('a'))
    real('qemu-img', 'create', '-f', 'qcow2', at('shorter'), '40M')
    real('qemu-io', '-c', 'write 1M 1M', '-c', 'write 10M 1M', '-c', 'write 33M 1M', at('shorter'))
    real('qemu-img', 'create', '-f', 'raw', at('nothing'), '0')
    real('qemu-img', 'create', '-f', 'qcow2', '-o', 'compat=0.10', at('old'), '1M')
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  test.each([
    'convert -p -O raw a target',
    'convert -p -O qcow2 a target',
    'convert -p -O raw nothing target',
    'compare -p a a2',
    'compare -p a shorter',
    'compare -p shorter a',
    'compare -p -f raw nothing nothing',
    'amend -p -o lazy_refcounts=on a2',
    'amend -p -o compat=0.10 a2',
    'amend -p -o size=80M a2',
    'amend -p -o compat=0.10 old2',
  ])('%s', async (line) => {
    const words = splitWords(line).map((word) =>
      /^(a|a2|shorter|nothing|old|old2|target)$/.test(word) ? at(word) : word,
    )
    const fresh = (): void => {
      for (const name of ['a', 'old']) copyFileSync(at(name), at(`${name}2`))
    }
    fresh()
    const theirs = real('qemu-img', ...words)
    fresh()
    const terminal = capturedTerminal('qemu-img')
    await runProgram(runImg, words, terminal)
    expect(terminal.stdout).toBe(theirs)
  })
})
