/** A safe `rebase` keeps what a reader sees, also where that is zeroes which the image has not stored. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { runImg } from '../src/img/main.ts'
import { capturedTerminal } from './captured-terminal.ts'

const KiB = 1024
const size = 5120 * KiB
let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'rebase-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

async function img(...words: string[]): Promise<void> {
  const terminal = capturedTerminal()
  expect(await runImg(words, terminal), terminal.stderr).toBe(0)
}

describe('a safe rebase', () => {
  for (const compat of ['0.10', '1.1']) {
    for (const base of [0, 100, 512, 1000]) {
      const before = base === 0 ? 'that had no backing file' : `whose backing file ends after ${base} KiB`
      test(`keeps the zeroes of an image of compat ${compat} ${before}`, async () => {
        const [old, next, image] = ['old.raw', 'new.raw', 'image'].map((name) => join(folder, name)) as [
          string,
          string,
          string,
        ]
        writeFileSync(old, new Uint8Array(base * KiB).fill(7))
        writeFileSync(next, new Uint8Array(size).fill(9))
        const backing = base === 0 ? [] : ['-b', old, '-F', 'raw']
        await img('create', '-q', '-f', 'qcow2', '-o', `compat=${compat}`, ...backing, image, String(size))
        await img('rebase', '-b', next, '-F', 'raw', image)
        await img('convert', '-O', 'raw', image, join(folder, 'content'))
        const expected = new Uint8Array(size).fill(7, 0, base * KiB)
        expect(Buffer.compare(readFileSync(join(folder, 'content')), expected)).toBe(0)
      })
    }
  }
})
