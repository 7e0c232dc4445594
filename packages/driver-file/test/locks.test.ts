/**
 * Who excludes whom, held against the real tools. Every real way to use an image is started and its lock bytes are
 * read from /proc/locks; our locks of the same permissions must be the same bytes, and every pair of a holder and a
 * comer must end the same whether either is the real one or ours.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isBlockError, Permission } from '@diskgraph/core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createImage, hasNative, hasQemu, openImage, temporaryFolder } from './support.ts'

const folder = temporaryFolder()
const image = join(folder, 'image.qcow2')
const overlay = join(folder, 'overlay.qcow2')
const otherOverlay = join(folder, 'other-overlay.qcow2')
const raw = join(folder, 'image.raw')
const plain = join(folder, 'plain')

/** The locked bytes of a file, sorted; several holders of one byte count once. */
function lockedBytes(filename: string): number[] {
  const { ino } = statSync(filename)
  const bytes = new Set<number>()
  for (const line of readFileSync('/proc/locks', 'utf8').split('\n')) {
    const [, type, , mode, , device, first, last] = line.trim().split(/\s+/)
    if (type !== 'OFDLCK' || device?.split(':')[2] !== String(ino)) continue
    expect(mode).toBe('READ')
    for (let byte = Number(first); byte <= Number(last); byte++) bytes.add(byte)
  }
  return [...bytes].sort((a, b) => a - b)
}

interface Profile {
  permissions: number
  shared: number
}

function profileOf(bytes: readonly number[]): Profile {
  let permissions = 0
  let unshared = 0
  for (const byte of bytes) {
    if (byte >= 200) unshared |= 1 << (byte - 200)
    else permissions |= 1 << (byte - 100)
  }
  return { permissions, shared: Permission.All & ~unshared }
}

/** A program that holds the image open until its standard input ends. */
interface Holder {
  readonly name: string
  readonly command: readonly string[]
  /** A line of its output says that the image is open; without it a file does. */
  readonly pidFile?: string
}

const held = ['-c', 'length']
const holders: Holder[] = [
  { name: 'qemu-io raw', command: ['qemu-io', '-f', 'raw', image] },
  { name: 'qemu-io -r raw', command: ['qemu-io', '-r', '-f', 'raw', image] },
  { name: 'qemu-io qcow2', command: ['qemu-io', '-f', 'qcow2', image] },
  { name: 'qemu-io -r qcow2', command: ['qemu-io', '-r', '-f', 'qcow2', image] },
  { name: 'qemu-io -r -U qcow2', command: ['qemu-io', '-r', '-U', '-f', 'qcow2', image] },
  { name: 'qemu-io -r -U raw', command: ['qemu-io', '-r', '-U', '-f', 'raw', image] },
  { name: 'backing file of qemu-io qcow2', command: ['qemu-io', '-f', 'qcow2', overlay] },
  { name: 'qemu-nbd raw', command: nbd('raw'), pidFile: join(folder, 'pid-raw') },
  { name: 'qemu-nbd -r raw', command: [...nbd('raw'), '-r'], pidFile: join(folder, 'pid-raw') },
  { name: 'qemu-nbd qcow2', command: nbd('qcow2'), pidFile: join(folder, 'pid-qcow2') },
]

function nbd(format: string): string[] {
  const socket = join(folder, `nbd-${format}`)
  return ['qemu-nbd', '-f', format, '-k', socket, '-t', '--pid-file', join(folder, `pid-${format}`), image]
}

/** Programs that use the image for a moment. None of them may change what the next one sees. */
const visitors: Record<string, string[]> = {
  'qemu-img info': ['qemu-img', 'info', image],
  'qemu-img info -U': ['qemu-img', 'info', '-U', image],
  'qemu-img check': ['qemu-img', 'check', image],
  'qemu-img convert from raw': ['qemu-img', 'convert', '-f', 'raw', '-O', 'raw', image, join(folder, 'copy')],
  'qemu-img convert from qcow2': ['qemu-img', 'convert', '-f', 'qcow2', '-O', 'raw', image, join(folder, 'copy')],
  'qemu-img resize': ['qemu-img', 'resize', '-q', '-f', 'qcow2', image, '1M'],
  'qemu-img rebase': ['qemu-img', 'rebase', '-u', '-f', 'qcow2', '-b', '', image],
  'qemu-img snapshot -l': ['qemu-img', 'snapshot', '-l', image],
  'qemu-io raw': ['qemu-io', '-f', 'raw', ...held, image],
  'qemu-io -r raw': ['qemu-io', '-r', '-f', 'raw', ...held, image],
  'qemu-io qcow2': ['qemu-io', '-f', 'qcow2', ...held, image],
  'qemu-io -r qcow2': ['qemu-io', '-r', '-f', 'qcow2', ...held, image],
  'qemu-io -r -U qcow2': ['qemu-io', '-r', '-U', '-f', 'qcow2', ...held, image],
  'qemu-io overlay': ['qemu-io', '-f', 'qcow2', ...held, otherOverlay],
}

const running = new Set<ChildProcess>()

async function start({ name, command, pidFile }: Holder): Promise<ChildProcess> {
  const [program, ...args] = command as [string, ...string[]]
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] })
  running.add(child)
  let output = ''
  child.stdout?.on('data', (data: Buffer) => {
    output += data
  })
  child.stderr?.on('data', (data: Buffer) => {
    output += data
  })
  for (let i = 0; i < 500; i++) {
    if (child.exitCode !== null) throw new Error(`${name}: ${output}`)
    // The server writes its number when it has opened the image and taken all locks.
    const ready = pidFile === undefined ? output.includes('qemu-io>') : pidIn(pidFile) === child.pid
    if (ready) return child
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  throw new Error(`${name} does not start: ${output}`)
}

/** The number in a file that a server has written; undefined before. */
function pidIn(pidFile: string): number | undefined {
  return existsSync(pidFile) ? Number(readFileSync(pidFile, 'utf8')) : undefined
}

async function stop(child: ChildProcess): Promise<void> {
  const exited = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGTERM')
  await exited
  running.delete(child)
}

/** `ok`, or the message of the lock that was not to be had. */
function visit(command: readonly string[]): string {
  const [program, ...args] = command as [string, ...string[]]
  const { status, stderr } = spawnSync(program, args, { encoding: 'utf8', timeout: 10_000 })
  return status === 0 ? 'ok' : (/Failed to get .*lock/.exec(stderr)?.[0] ?? `status ${status}: ${stderr}`)
}

async function hold(profile: Profile): Promise<{ outcome: string; close(): Promise<void> }> {
  const opened = await openImage(image, { readOnly: (profile.permissions & Permission.Write) === 0 })
  let outcome = 'ok'
  try {
    ;(await opened.permissions?.prepare(profile.permissions, profile.shared))?.commit()
  } catch (error) {
    if (!isBlockError(error)) throw error
    expect(error.code).toBe('EAGAIN')
    expect(error.hint).toBe(`Is another process using the image [${image}]?`)
    outcome = error.message
  }
  return { outcome, close: () => opened.close() }
}

describe.skipIf(!hasNative || !hasQemu)('image locks', () => {
  const profiles = new Map<string, Profile>()
  const bytes = new Map<string, number[]>()

  beforeAll(async () => {
    spawnSync('qemu-img', ['create', '-q', '-f', 'qcow2', image, '1M'])
    for (const name of [overlay, otherOverlay]) {
      spawnSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', image, '-F', 'qcow2', name])
    }
    spawnSync('qemu-img', ['create', '-q', '-f', 'raw', raw, '1M'])
    for (const holder of holders) {
      const child = await start(holder)
      const locked = lockedBytes(image)
      bytes.set(holder.name, locked)
      profiles.set(holder.name, profileOf(locked))
      await stop(child)
    }
  })
  afterAll(() => {
    for (const child of running) child.kill('SIGKILL')
  })

  it('are known from the real holders', () => {
    expect(Object.fromEntries(bytes)).toMatchObject({
      'qemu-io raw': [100, 101],
      'qemu-io -r raw': [100],
      'qemu-io qcow2': [100, 101, 103, 201, 203],
      'qemu-io -r qcow2': [100, 201, 203],
      'qemu-io -r -U qcow2': [100],
      'backing file of qemu-io qcow2': [100, 201, 203],
      'qemu-nbd raw': [100, 101, 203],
      'qemu-nbd -r raw': [100, 203],
    })
  })

  it.each(holders)('are the same bytes as those of $name', async ({ name }) => {
    const ours = await hold(profiles.get(name) as Profile)
    expect(lockedBytes(image)).toEqual(bytes.get(name))
    await ours.close()
    expect(lockedBytes(image)).toEqual([])
  })

  it.each(holders)('let in beside $name whom it lets in, and refuse others in the same words', async (holder) => {
    const profile = profiles.get(holder.name) as Profile
    const real = await start(holder)
    const expected: Record<string, string> = {}
    const mixed: Record<string, string> = {}
    for (const [name, command] of Object.entries(visitors)) expected[name] = visit(command)
    for (const [name, comer] of profiles) {
      const ours = await hold(comer)
      mixed[name] = ours.outcome
      await ours.close()
    }
    await stop(real)

    const ours = await hold(profile)
    const beside: Record<string, string> = {}
    const alone: Record<string, string> = {}
    for (const [name, command] of Object.entries(visitors)) beside[name] = visit(command)
    for (const [name, comer] of profiles) {
      const other = await hold(comer)
      alone[name] = other.outcome
      await other.close()
    }
    await ours.close()

    expect(beside).toEqual(expected)
    expect(alone).toEqual(mixed)
    // Where a way to use the image is both a real visitor and a profile of ours, the two agree.
    const names = ['qemu-io raw', 'qemu-io -r raw', 'qemu-io qcow2', 'qemu-io -r qcow2', 'qemu-io -r -U qcow2']
    for (const name of names) expect(`${name}: ${mixed[name]}`).toBe(`${name}: ${expected[name]}`)
  })

  it('stand against a new image over one that is in use, in both directions', async () => {
    const writer = await hold({ permissions: 3, shared: Permission.ConsistentRead })
    expect(visit(['qemu-img', 'create', '-f', 'raw', image, '1M'])).toBe('Failed to get "write" lock')
    await expect(createImage({ filename: image, size: 1024 })).rejects.toMatchObject({
      code: 'EAGAIN',
      message: 'Failed to get "write" lock',
      hint: `Is another process using the image [${image}]?`,
    })
    await writer.close()
    expect(statSync(image).size).toBeGreaterThan(1024)
    const real = await start({ name: 'qcow2', command: ['qemu-io', '-f', 'qcow2', image] })
    await expect(createImage({ filename: image, size: 1024 })).rejects.toMatchObject({ code: 'EAGAIN' })
    await stop(real)
  })

  it('are as they were after a change that is refused or called off', async () => {
    const one = await openImage(raw)
    const other = await openImage(raw)
    const { permissions: locks } = one
    ;(await locks?.prepare(Permission.ConsistentRead, Permission.All))?.commit()
    ;(await other.permissions?.prepare(Permission.Write, Permission.All))?.commit()
    expect(lockedBytes(raw)).toEqual([100, 101])
    await expect((async () => locks?.prepare(Permission.Resize, Permission.ConsistentRead))()).rejects.toMatchObject({
      message: 'Failed to get shared "write" lock',
    })
    expect(lockedBytes(raw)).toEqual([100, 101])
    const prepared = await locks?.prepare(Permission.Resize, Permission.All)
    expect(lockedBytes(raw)).toEqual([100, 101, 103])
    prepared?.abort()
    expect(lockedBytes(raw)).toEqual([100, 101])
    await other.close()
    expect(lockedBytes(raw)).toEqual([100])
    await one.close()
  })

  it('stay through a reopen', async () => {
    const opened = await openImage(raw, { readOnly: true })
    ;(await opened.permissions?.prepare(Permission.ConsistentRead, Permission.All & ~Permission.Write))?.commit()
    const change = {
      options: {},
      readOnly: false,
      cache: { direct: false, noFlush: false },
      discard: 'ignore' as const,
    }
    const prepared = await opened.reopen(change)
    ;(
      await opened.permissions?.prepare(
        Permission.ConsistentRead | Permission.Write,
        Permission.All & ~Permission.Write,
      )
    )?.commit()
    prepared.commit()
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(lockedBytes(raw)).toEqual([100, 101, 201])
    expect(visit(['qemu-io', '-f', 'raw', ...held, raw])).toBe('Failed to get "write" lock')
    await opened.close()
    expect(lockedBytes(raw)).toEqual([])
  })
})

it('image locks are not taken when locking is off', async () => {
  writeFileSync(plain, '')
  const opened = await openImage(plain, { locking: 'off' })
  expect(opened.permissions).toBeUndefined()
  await opened.close()
})
