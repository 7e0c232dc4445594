/** Conversions to images that are encrypted, read by the real tool. */
import { readFileSync, writeFileSync } from 'node:fs'
import { peer, Random, runTool, TempFolder } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { runImg } from '../src/img/main.ts'
import { runProgram } from '../src/main.ts'
import { capturedTerminal } from './captured-terminal.ts'

peer('qemu-img', { describe, it }).describe('convert', () => {
  it.each([
    ['qcow2', 'encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10', 'encrypt.key-secret=s'],
    ['qcow2', 'encrypt.format=aes,encrypt.key-secret=s', 'encrypt.key-secret=s'],
    ['luks', 'key-secret=s,iter-time=10', 'key-secret=s'],
  ])('writes an encrypted target: %s with %s', async (format, options, key) => {
    await using folder = await TempFolder.make()
    const [source, target, copy] = [folder.file('source'), folder.file('target'), folder.file('copy')]
    writeFileSync(source, new Random(7).bytes(300_032))
    const secret = ['--object', 'secret,id=s,data=password']
    const terminal = capturedTerminal('dg-img')
    const words = ['convert', ...secret, '-f', 'raw', '-O', format, '-o', options, source, target]
    expect([await runProgram(runImg, words, terminal), terminal.stderr]).toEqual([0, ''])
    expect(readFileSync(target).includes(readFileSync(source).subarray(0, 512))).toBe(false)
    const opened = `driver=${format},file.filename=${target},${key}`
    const read = await runTool('qemu-img', ['convert', ...secret, '--image-opts', '-O', 'raw', opened, copy])
    expect(read).toMatchObject({ status: 0, stderr: '' })
    expect(Buffer.compare(readFileSync(copy), readFileSync(source))).toBe(0)
  })
})
