/**
 * Every command and every event over a real socket: what QEMU's system emulator answered (recorded by
 * packages/qmp/test/record.mjs), and what dg-emulator answers. Nothing that is registered may lack an answer and an error.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Schema } from '@diskgraph/qapi'
import { connectTo } from '@diskgraph/qmp'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { compare, makeImage, type Recording } from '../../../packages/qmp/test/recording.ts'
import { parseEmulatorLine } from '../src/emulator/command-line.ts'
import { Emulator } from '../src/emulator/emulator.ts'

const folders = ['recorded/', '../../../packages/qmp/test/recorded/'].map((name) => new URL(name, import.meta.url))
const own = folders[0] as URL
const before = process.cwd()
let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'every-command-'))
  process.chdir(folder)
})

afterEach(() => {
  vi.restoreAllMocks()
  process.chdir(before)
  rmSync(folder, { recursive: true })
})

/** A client that takes lines apart. */
class Lines {
  readonly #socket: Socket
  #text = ''
  #arrived: () => void = () => undefined

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (chunk) => {
      this.#text += chunk
      this.#arrived()
    })
    socket.resume()
  }

  /** Sends text; resolves with the next `count` messages, or those that come within ten seconds. */
  async exchange(text: string, count: number): Promise<unknown[]> {
    this.#socket.write(text)
    let isLate = false
    const late = setTimeout(() => {
      isLate = true
      this.#arrived()
    }, 10_000)
    const messages: unknown[] = []
    while (messages.length < count) {
      const end = this.#text.indexOf('\n')
      if (end >= 0) {
        messages.push(JSON.parse(this.#text.slice(0, end)))
        this.#text = this.#text.slice(end + 1)
      } else if (isLate) break
      else {
        await new Promise<void>((resolve) => {
          this.#arrived = resolve
        })
      }
    }
    clearTimeout(late)
    return messages
  }
}

/** Runs `work` with a client of an emulator that was started with `words`. */
async function emulating(words: readonly string[], work: (client: Lines) => Promise<void>): Promise<void> {
  vi.spyOn(process.stdout, 'write').mockReturnValue(true)
  const exit = vi.spyOn(process, 'exit').mockReturnValue(undefined as never)
  const path = 'qmp.sock'
  const emulator = new Emulator(parseEmulatorLine([...words, '-qmp', `unix:${path},server=on,wait=off`]), 'dg-emulator')
  try {
    await emulator.start()
    const socket = await connectTo({ path })
    const client = new Lines(socket)
    await client.exchange('', 1)
    await work(client)
    socket.destroy()
  } finally {
    if (exit.mock.calls.length === 0) await emulator.end()
  }
}

describe.each(readdirSync(own))('as recorded in %s', (name) => {
  const { program = [], setup = [], exchanges }: Recording = JSON.parse(readFileSync(new URL(name, own), 'utf8'))

  it('answers every line as the real emulator does', async () => {
    for (const words of setup) makeImage(words)
    const words = program.slice(1).filter((word) => word !== '-qmp' && word !== 'stdio')
    await emulating(words, async (client) => {
      for (const exchange of exchanges) {
        const { send, answers, own: different = answers } = exchange
        compare(exchange, await client.exchange(`${send}\n`, different.length))
      }
    })
  })
})

it('starts with the lines of a management tool, whose options are mostly those of a machine', () => {
  const line = `-nodefaults -msg timestamp=on -overcommit mem-lock=off -compat deprecated-input=reject -no-hpet -usb -vnc none -L .
    -smbios type=1 -numa node -mem-prealloc -action reboot=reset -watchdog-action none -fw_cfg name=a,string=b
    -object rng-random,id=rng0,filename=/dev/urandom -object memory-backend-ram,id=ram0,size=1M
    -chardev pty,id=port0 -device isa-serial,chardev=port0 -device virtio-net-pci,netdev=net0,mac=52:54:00:00:00:01
    -device VGA,vgamem_mb=16 -device usb-tablet -device virtio-balloon-pci,id=balloon0
    -blockdev driver=null-co,node-name=n0 -device virtio-blk-pci,drive=n0,id=disk0`
  return emulating(line.split(/\s+/), async (client) => {
    await client.exchange('{"execute": "qmp_capabilities"}', 1)
    const [answer] = await client.exchange('{"execute": "query-chardev"}', 1)
    expect(JSON.stringify(answer)).toContain('"label":"port0"')
    const [blocks] = await client.exchange('{"execute": "query-block"}', 1)
    expect(blocks).toMatchObject({ return: [{ qdev: expect.stringContaining('disk0') }] })
  })
})

it('a monitor on a terminal of a machine is refused, not left unserved', async () => {
  const words = ['-chardev', 'pty,id=port0', '-mon', 'chardev=port0']
  await expect(emulating(words, async () => undefined)).rejects.toThrow("a monitor cannot use the terminal 'port0'")
})

it('tells what there is of commands, events, types and edges', () =>
  emulating(['-drive', 'if=none,id=d0,driver=null-co,node-name=n'], async (client) => {
    const ask = async (execute: string, args: object = {}): Promise<unknown> => {
      const line = JSON.stringify({ execute, arguments: args })
      const [answer] = (await client.exchange(line, 1)) as [{ return?: unknown; error?: { desc: string } }]
      return answer.error?.desc ?? answer.return
    }
    await ask('qmp_capabilities')
    const names = (list: unknown): string[] => (list as { name: string }[]).map(({ name }) => name)
    const commands = names(await ask('query-commands'))
    expect(new Set(commands).size).toBe(commands.length)
    expect(names(await ask('query-events'))).toEqual(new Schema().eventNames)
    expect(await ask('query-events', { x: 1 })).toBe("Parameter 'x' is unexpected")
    const schema = (await ask('query-qmp-schema')) as { name: string; 'meta-type': string }[]
    const known = schema.filter((one) => one['meta-type'] === 'command').map(({ name }) => name)
    expect(known.sort()).toEqual(commands.sort())
    const { nodes, edges } = (await ask('x-debug-query-block-graph')) as { nodes: { type: string }[]; edges: object[] }
    expect(nodes.map(({ type }) => type).sort()).toEqual(['block-backend', 'block-driver'])
    expect(edges).toMatchObject([{ name: 'root', perm: expect.arrayContaining(['consistent-read']) }])
    expect(await ask('drive-mirror', { device: 'nosuch', target: 't', sync: 'full' })).toContain("device='nosuch'")
    const change = { id: 'nosuch', type: 'mirror', 'copy-mode': 'write-blocking' }
    expect(await ask('block-job-change', change)).toBe("Block job 'nosuch' not found")
    expect(await ask('change', { device: 'nosuch', target: 't' })).toBe("Device 'nosuch' not found")
    expect(await ask('change', { device: 'd0', target: 'null-co://' })).toEqual({})
    expect(await ask('block_passwd', { device: 'd0', password: 'x' })).toContain('is not encrypted')
  }))

/** What is told and refused by other tests, or has nothing to tell. */
const elsewhere: Readonly<Record<string, readonly string[]>> = {
  'the test above': [
    ...['an answer of query-commands', 'an answer of query-events', 'an error of query-events'],
    ...['an answer of query-qmp-schema', 'an answer of x-debug-query-block-graph', 'an error of drive-mirror'],
    ...['an answer of change', 'an error of change', 'an error of block_passwd'],
    'an error of block-job-change',
  ],
  'packages/qmp/test/descriptors.test.ts': ['getfd', 'closefd', 'add-fd', 'remove-fd'].map(
    (name) => `an answer of ${name}`,
  ),
  'no image waits for a password any more': ['an answer of block_passwd'],
  'packages/jobs/test/live/chains.test.ts': ['an answer of x-blockdev-amend'],
  'packages/jobs/test/live/policies.test.ts': ['an answer of block-job-change'],
  'packages/qmp/test/session.test.ts': ['event BLOCK_IMAGE_CORRUPTED'],
  'packages/devices/test/policies.test.ts, as there is no guest here': ['event BLOCK_IO_ERROR'],
}

it('has an answer and an error for every command that is registered, and every event of the schema', async () => {
  const seen = { answers: new Set<string>(), errors: new Set<string>(), events: new Set<string>() }
  for (const directory of folders) {
    for (const name of readdirSync(directory)) {
      const { exchanges }: Recording = JSON.parse(readFileSync(new URL(name, directory), 'utf8'))
      for (const { send, answers, own: different = answers } of exchanges) {
        const [, command = ''] = /"execute": ?"([^"]+)"/.exec(send) ?? []
        for (const message of different as { event?: string; error?: unknown }[]) {
          if (message.event !== undefined) seen.events.add(message.event)
          else (message.error === undefined ? seen.answers : seen.errors).add(command)
        }
      }
    }
  }
  const missing: string[] = []
  await emulating(['-M', 'none', '-S'], async (client) => {
    await client.exchange('{"execute": "qmp_capabilities"}', 1)
    const [told] = (await client.exchange('{"execute": "query-commands"}', 1)) as [{ return: { name: string }[] }]
    for (const { name } of told.return) {
      if (!seen.answers.has(name)) missing.push(`an answer of ${name}`)
      if (!seen.errors.has(name)) missing.push(`an error of ${name}`)
    }
  })
  for (const name of new Schema().eventNames) if (!seen.events.has(name)) missing.push(`event ${name}`)
  expect(missing.sort()).toEqual(Object.values(elsewhere).flat().sort())
})
