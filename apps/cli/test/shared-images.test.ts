/** Images that somebody else writes to, and commands that only look at them. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Graph, Permission } from '@diskgraph/core'
import { file } from '@diskgraph/driver-file'
import { qcow2 } from '@diskgraph/driver-qcow2'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { runImg } from '../src/img/main.ts'
import { runProgram } from '../src/main.ts'
import { capturedTerminal } from './captured-terminal.ts'

let folder = ''

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'shared-images-'))
})

afterEach(() => rmSync(folder, { recursive: true, force: true }))

async function run(...words: string[]): Promise<{ code: number; stderr: string }> {
  const terminal = capturedTerminal('dg-img')
  return { code: await runProgram(runImg, words, terminal), stderr: terminal.stderr }
}

test('an overlay of an image that a guest writes to can be made', async () => {
  const base = join(folder, 'base.qcow2')
  await run('create', '-q', '-f', 'qcow2', base, '1M')
  await using graph = new Graph({ drivers: [file, qcow2] })
  const { ConsistentRead, Write } = Permission
  const permissions = { permissions: ConsistentRead | Write, shared: ConsistentRead }
  await graph.add({ driver: 'qcow2', file: { driver: 'file', filename: base } }, permissions)
  const overlay = join(folder, 'overlay.qcow2')
  expect(await run('create', '-q', '-f', 'qcow2', '-b', base, '-F', 'qcow2', overlay)).toEqual({ code: 0, stderr: '' })
})

test('-U contradicts options that say otherwise', async () => {
  const { code, stderr } = await run('info', '-U', '--image-opts', 'driver=null-co,force-share=off')
  expect([code, stderr]).toEqual([1, 'dg-img: --force-share/-U conflicts with image options\n'])
  expect((await run('info', '-U', '--image-opts', 'driver=null-co,force-share=on')).code).toBe(0)
})
