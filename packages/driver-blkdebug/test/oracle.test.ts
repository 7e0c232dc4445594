/**
 * The same configuration file under the real qemu-io and under ours: the same requests fail with the same errors.
 * Flushes answer nothing in qemu-io; what they arm and change shows in the requests after them.
 */
import { writeFile } from 'node:fs/promises'
import { type Disk, describeErrorCode, type ErrorCode } from '@diskgraph/core'
import { peer, Random, randomSeed, runTool, TempFolder } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { canonicalEvent } from '../src/events.ts'
import { control, open } from './stack.ts'

const seed = Number(process.env.SEED ?? randomSeed())
const qemu = peer('qemu-io', { describe, it })

const events = [
  'none',
  'read_aio',
  'write_aio',
  'pwritev',
  'pwritev_zero',
  'pwritev_done',
  'flush_to_os',
  'flush_to_disk',
]
const kinds = ['read', 'write', 'write-zeroes', 'discard', 'flush', 'block-status']

/** A configuration of a few rules. */
function randomConfig(random: Random): string {
  const lines: string[] = []
  const set = (name: string, value: string | number): number => lines.push(`  ${name} = "${value}"`)
  for (let i = random.between(1, 4); i > 0; i--) {
    lines.push('[inject-error]')
    set('event', random.pick(events))
    if (random.chance(0.5)) set('state', random.between(0, 3))
    if (random.chance(0.4)) set('iotype', random.pick(kinds))
    if (random.chance(0.7)) set('errno', random.pick([5, 28, 22, 12, 0, 95]))
    if (random.chance(0.5)) set('sector', random.between(-1, 7))
    if (random.chance(0.5)) set('once', random.pick(['on', 'off']))
    if (random.chance(0.3)) set('immediately', random.pick(['on', 'off']))
  }
  for (let i = random.between(0, 4); i > 0; i--) {
    lines.push('[set-state]')
    set('event', random.pick(events))
    if (random.chance(0.7)) set('state', random.between(0, 3))
    set('new_state', random.between(1, 3))
  }
  return `${lines.join('\n')}\n`
}

/** A command of qemu-io on whole sectors. */
function randomCommand(random: Random): string {
  const range = `${random.between(0, 7) * 512} ${random.between(1, 3) * 512}`
  const command = random.weighted({ read: 4, write: 4, 'write -z': 2, discard: 1, flush: 2 })
  return command === 'flush' ? command : `${command} ${range}`
}

/** Does what a command says, and returns what decides the line that qemu-io prints; undefined for flushes. */
async function answer(disk: Disk, command: string): Promise<string | undefined> {
  const words = command.split(' ')
  const [verb = ''] = words
  const [offset = 0, length = 0] = words.slice(-2).map(Number)
  const run = {
    read: () => disk.read(offset, new Uint8Array(length)),
    write: () => (words[1] === '-z' ? disk.writeZeroes(offset, length) : disk.write(offset, new Uint8Array(length))),
    discard: () => disk.discard(offset, length),
    flush: () => disk.flush(),
  }[verb]
  try {
    await run?.()
    return verb === 'flush' ? undefined : 'done'
  } catch (error) {
    if (verb === 'flush') return undefined
    return `${verb} failed: ${describeErrorCode((error as { code: ErrorCode }).code)}`
  }
}

/** Outcomes that qemu-io printed, in order. */
function outcomes(stdout: string): string[] {
  return stdout.split('\n').flatMap((line) => {
    if (/^(read|wrote|discard) \d+\//.test(line)) return ['done']
    return / failed: /.test(line) ? [line] : []
  })
}

qemu.describe(`blkdebug beside qemu-io (seed ${seed})`, () => {
  it('fails the same requests with the same errors', async () => {
    const random = new Random(seed)
    await using folder = await TempFolder.make()
    await writeFile(folder.file('image'), new Uint8Array(65536))
    for (let i = 0; i < 60; i++) {
      const config = randomConfig(random)
      await writeFile(folder.file('config'), config)
      const commands = Array.from({ length: 25 }, () => randomCommand(random))
      const options = `driver=raw,discard=unmap,file.driver=blkdebug,file.config=${folder.file('config')},file.image.driver=file,file.image.filename=${folder.file('image')}`
      const { stdout } = await runTool('qemu-io', [
        ...['-t', 'writeback', '--image-opts', options],
        ...commands.flatMap((command) => ['-c', command]),
      ])
      const { graph, disk } = await open({ config: folder.file('config') })
      const ours: string[] = []
      for (const command of commands) ours.push((await answer(disk, command)) ?? '')
      await graph.close().catch(() => undefined)
      const message = `${config}\n${commands.join('\n')}`
      expect(
        ours.filter((line) => line !== ''),
        message,
      ).toEqual(outcomes(stdout))
    }
  })

  it.each([
    'write 0 4096',
    'write 512 512',
    'write 100 8192',
    'write 100 8000',
    'write 0 100',
    'write 100 3996',
    'write 0 5000',
    'write 100 8092',
    'write -z 0 4096',
    'read 100 100',
  ])('hears the same events for %j in blocks of 4 KiB', async (command) => {
    await using folder = await TempFolder.make()
    await writeFile(folder.file('image'), new Uint8Array(65536))
    const ours = await eventsOfOurs(command)
    expect(await eventsOfQemu(command, folder.file('image'), ours)).toEqual(ours)
  })
})

const heard = events.filter((event) => event !== 'none' && !event.startsWith('flush'))
heard.push('pwritev_rmw_head', 'pwritev_rmw_after_head', 'pwritev_rmw_tail', 'pwritev_rmw_after_tail')

/**
 * The events of one request, found with a breakpoint on each. Whoever is stopped is let go in the order `expected`;
 * with any other order qemu-io waits until it is ended, and the list stays short.
 */
async function eventsOfQemu(command: string, image: string, expected: readonly string[]): Promise<string[]> {
  const options = `driver=raw,file.driver=blkdebug,file.align=4096,file.image.driver=file,file.image.filename=${image}`
  const commands = [
    ...heard.map((event) => `break ${event} ${event}`),
    `aio_${command}`,
    ...expected.flatMap((event) => [`wait_break ${event}`, `resume ${event}`]),
    'aio_flush',
  ]
  const args = ['-oL', 'qemu-io', '-t', 'writeback', '--image-opts', options]
  const { stdout } = await runTool('stdbuf', [...args, ...commands.flatMap((line) => ['-c', line])], 5000)
  return [...stdout.matchAll(/Suspended request '(\w+)'/g)].map(([, event]) => event as string)
}

async function eventsOfOurs(command: string): Promise<string[]> {
  const { graph, disk, node } = await open({ align: 4096 })
  const seen: string[] = []
  for (const event of heard) control(node, 'break', event, event)
  graph.onEvent(({ event, data }) => {
    if (event !== 'BLKDEBUG_SUSPENDED') return
    seen.push(canonicalEvent(data.tag as string) as string)
    setTimeout(() => control(node, 'resume', data.tag as string))
  })
  await answer(disk, command)
  await graph.close()
  return seen
}
