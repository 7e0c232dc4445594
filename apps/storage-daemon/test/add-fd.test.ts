/** Descriptors that the programs inherit. */
import { once } from 'node:events'
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { Graph } from '@diskgraph/core'
import { TempFolder } from '@diskgraph/driver-testkit'
import { System } from '@diskgraph/qmp'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { addDescriptor } from '../src/add-fd.ts'
import { startSource } from './source-process.ts'

let folder: TempFolder

beforeEach(async () => {
  folder = await TempFolder.make()
  writeFileSync(folder.file('image'), new Uint8Array(65536))
})

afterEach(() => folder.remove())

/** Runs a program with the image as descriptors 3 (read and written) and 4 (read alone). */
async function run(source: string, words: readonly string[], input = ''): Promise<{ code: number; output: string }> {
  const fds = [openSync(folder.file('image'), 'r+'), openSync(folder.file('image'), 'r')]
  const child = startSource(source, words, ['pipe', 'pipe', 'pipe', ...fds])
  for (const fd of fds) closeSync(fd)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk) => {
      output += chunk
    })
  }
  child.stdin?.end(input)
  const [code] = (await once(child, 'close')) as [number]
  return { code, output }
}

const both = ['-add-fd', 'fd=3,set=5,opaque=rw:image', '-add-fd', 'fd=4,set=5']

it('stand for the file of a drive of dg-emulator', async () => {
  const words = ['-nodefaults', '-monitor', 'stdio', '-drive', 'file=/dev/fdset/5,if=none,id=d,format=raw']
  const { code, output } = await run('emulator/main.ts', [...both, ...words], 'qemu-io d "write -P 7 0 512"\nquit\n')
  expect({ code, output }).toMatchObject({ code: 0, output: expect.stringContaining('wrote 512/512 bytes') })
  expect(readFileSync(folder.file('image'))[511]).toBe(7)
})

it('are refused in the words of the real one', () => {
  const cases = [
    ['fd=2,set=1', 'fd cannot be a standard I/O stream'],
    ['fd=3', 'set option is required and must be non-negative'],
    ['set=1', 'fd option is required and must be non-negative'],
    ['fd=99,set=1', 'fd is not valid or already in use'],
    ['fd=x,set=1', "Parameter 'fd' expects a number"],
    ['fd=3,set=1,foo=2', "Invalid parameter 'foo'"],
  ] as const
  const system = new System({ graph: new Graph({ drivers: [] }) })
  for (const [text, message] of cases) expect(() => addDescriptor(system, text)).toThrow(message)
})

it('stand for the file of a node of dg-storage-daemon', async () => {
  const node = 'driver=file,node-name=n,filename=/dev/fdset/5,read-only=on'
  const words = ['--add-fd', 'fd=4,set=5', '--blockdev', node, '--chardev', 'stdio,id=c', '--monitor', 'c']
  const lines = ['qmp_capabilities', 'query-named-block-nodes', 'quit'].map((execute) => JSON.stringify({ execute }))
  const { code, output } = await run('daemon.ts', words, lines.join('\n'))
  expect({ code, output }).toMatchObject({ code: 0, output: expect.stringContaining('"file": "/dev/fdset/5"') })
})
