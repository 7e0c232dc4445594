/** The demonstration: a small stack in a folder of its own, given out over NBD, with a monitor and the console. */
import { once } from 'node:events'
import { mkdir, readdir } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join, resolve } from 'node:path'
import { Graph } from '@diskgraph/core'
import type { GivenOption } from '../command-line.ts'
import { drivers } from '../driver-table.ts'
import { StartError } from '../failure.ts'
import { makeFat16 } from './fat16.ts'

const size = 64 * 2 ** 20

const readme = `This disk is made of two layers: base.img, a raw image that holds this file,
and disk.qcow2, an overlay that takes all writes. The base stays as it is.
`

/** The files of a demonstration. */
interface Places {
  readonly base: string
  readonly disk: string
  readonly nbd: string
  readonly qmp: string
}

/** Makes the stack in `folder`, which is empty or not there yet, and returns the options of a daemon that serves it. */
export async function prepareDemo(folder: string): Promise<GivenOption[]> {
  const places = placesIn(folder)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  if ((await readdir(folder)).length > 0) {
    throw new StartError(`'${folder}' is not empty: a demonstration begins in a folder of its own`)
  }
  await makeStack(places)
  const overlay = {
    driver: 'qcow2',
    'node-name': 'disk',
    file: { driver: 'file', filename: places.disk, 'node-name': 'disk-file' },
    backing: 'base',
  }
  const base = {
    driver: 'raw',
    'node-name': 'base',
    'read-only': true,
    file: { driver: 'file', filename: places.base },
  }
  return [
    { name: 'blockdev', value: JSON.stringify(base) },
    { name: 'blockdev', value: JSON.stringify(overlay) },
    { name: 'nbd-server', value: JSON.stringify({ addr: { type: 'unix', path: places.nbd } }) },
    {
      name: 'export',
      value: JSON.stringify({ type: 'nbd', id: 'demo', 'node-name': 'disk', name: 'disk', writable: true }),
    },
    { name: 'chardev', value: `socket,id=qmp,path=${places.qmp.replaceAll(',', ',,')},server=on,wait=off` },
    { name: 'monitor', value: 'chardev=qmp' },
  ]
}

/** Throws if something listens at `port` of this machine already. */
export async function mustBeFree(port: number): Promise<void> {
  const server = createServer()
  try {
    const listening = once(server, 'listening')
    server.listen(port, '127.0.0.1')
    await listening
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw cause
    throw new StartError(`port ${port} is in use: choose another one for the console by --console PORT`, cause)
  } finally {
    server.close()
  }
}

/** What a person may try with it. */
export function demoGuide(folder: string): string {
  const { base, disk, nbd, qmp } = placesIn(folder)
  const uri = `'nbd+unix:///disk?socket=${nbd}'`
  return `
A disk of 64 MiB runs: an overlay, ${disk}
                over a base, ${base}

Try, in another terminal:
  nbdinfo ${uri}
  qemu-img info ${uri}
  qemu-io -f raw -c 'write -P 7 32M 8M' ${uri}
  diskgraph convert ${uri} copy.qcow2
QMP is spoken at ${qmp}
In the console, choose the node 'disk' to take a snapshot or to start a job.
Ctrl-C ends it. The files stay in ${folder}
`
}

function placesIn(folder: string): Places {
  const [base, disk, nbd, qmp] = ['base.img', 'disk.qcow2', 'nbd.sock', 'qmp.sock'].map((name) =>
    join(resolve(folder), name),
  ) as [string, string, string, string]
  return { base, disk, nbd, qmp }
}

async function makeStack({ base, disk }: Places): Promise<void> {
  await using graph = new Graph({ drivers })
  await graph.createUnchecked({ driver: 'file', filename: base, size })
  const raw = await graph.addUnchecked({ driver: 'file', filename: base })
  const files = [{ name: 'README.TXT', content: new TextEncoder().encode(readme) }]
  await makeFat16(raw, 'DISKGRAPH', files)
  await raw.close()
  await graph.createUnchecked({
    driver: 'qcow2',
    size,
    backingFile: 'base.img',
    backingFmt: 'raw',
    file: { driver: 'file', filename: disk },
  })
}
