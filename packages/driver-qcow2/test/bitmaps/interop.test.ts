/** Persistent bitmaps in images that the real tools and this driver take turns with: the bits are the same. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { DirtyBitmap, Node } from '@diskgraph/core'
import type { StoredBitmaps } from '@diskgraph/core/driver'
import { Random, randomSeed } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { create, Folder, haveQemu, newGraph, open, qemuCheck, run } from '../images.ts'

const seed = Number(process.env.SEED ?? randomSeed())
const names = ['one', 'two', 'three']

type Step = DiskStep | BitmapStep
type DiskStep =
  | { readonly kind: 'write'; readonly offset: number; readonly length: number }
  | { readonly kind: 'zero'; readonly offset: number; readonly length: number }
  | { readonly kind: 'resize'; readonly size: number }
type BitmapStep =
  | { readonly kind: 'add'; readonly name: string; readonly granularity: number; readonly disabled: boolean }
  | { readonly kind: 'remove'; readonly name: string }
  | { readonly kind: 'clear' | 'enable' | 'disable'; readonly name: string }
  | { readonly kind: 'merge'; readonly name: string; readonly source: string }

/** Bitmaps with their flags and dirty runs, `offset+length`. */
type Content = Readonly<Record<string, string>>

function stepsFrom(random: Random, firstSize: number, count: number): Step[] {
  const steps: Step[] = []
  const present: string[] = []
  let size = firstSize
  while (steps.length < count) {
    const roll = random.below(10)
    const length = Math.min(size, 512 * (1 + random.below(random.chance(0.2) ? size / 512 : 300)))
    const offset = 512 * random.below((size - length) / 512 + 1)
    const missing = names.filter((name) => !present.includes(name))
    if (roll < 4) steps.push({ kind: random.chance(0.8) ? 'write' : 'zero', offset, length })
    else if (roll === 4 && missing.length > 0) {
      const name = random.pick(missing)
      steps.push({ kind: 'add', name, granularity: 512 * 2 ** random.below(9), disabled: random.chance(0.2) })
      present.push(name)
    } else if (present.length === 0) continue
    else if (roll === 5) {
      size = 512 * (100 + random.below(8000))
      steps.push({ kind: 'resize', size })
    } else if (roll === 6 && random.chance(0.5)) {
      const [name] = present.splice(random.below(present.length), 1)
      steps.push({ kind: 'remove', name: name as string })
    } else if (roll === 7) steps.push({ kind: 'merge', name: random.pick(present), source: random.pick(present) })
    else if (roll > 7) {
      steps.push({ kind: random.pick(['clear', 'enable', 'disable'] as const), name: random.pick(present) })
    }
  }
  return steps
}

function byQemu(path: string, step: Step): void {
  if (step.kind === 'write') run('qemu-io', '-f', 'qcow2', '-c', `write ${step.offset} ${step.length}`, path)
  else if (step.kind === 'zero') run('qemu-io', '-f', 'qcow2', '-c', `write -z ${step.offset} ${step.length}`, path)
  else if (step.kind === 'resize') run('qemu-img', 'resize', '-q', '-f', 'qcow2', '--shrink', path, String(step.size))
  else if (step.kind === 'merge') run('qemu-img', 'bitmap', '--merge', step.source, path, step.name)
  else if (step.kind === 'add') {
    const more = step.disabled ? ['--disable'] : []
    run('qemu-img', 'bitmap', '--add', ...more, '-g', String(step.granularity), path, step.name)
  } else run('qemu-img', 'bitmap', `--${step.kind}`, path, step.name)
}

async function byDriver(path: string, step: Step): Promise<void> {
  await using graph = newGraph()
  const disk = await open(graph, path)
  const { node } = disk
  if ('name' in step) {
    await graph.change(async (change) => {
      await change.drain(node)
      await changeBitmap(node, step)
    })
  } else if (step.kind === 'write') await disk.write(step.offset, new Uint8Array(step.length).fill(0xcd))
  else if (step.kind === 'zero') await disk.writeZeroes(step.offset, step.length)
  else await disk.truncate(step.size)
}

async function changeBitmap(node: Node, step: BitmapStep): Promise<void> {
  const stored = node.image.bitmaps as StoredBitmaps
  const find = (name: string): DirtyBitmap => node.dirtyBitmaps.find((one) => one.name === name) as DirtyBitmap
  if (step.kind === 'add') {
    const added = node.addDirtyBitmap(step.granularity, step.name)
    added.enabled = !step.disabled
    await stored.add(added)
    return
  }
  const bitmap = find(step.name)
  if (step.kind === 'remove') {
    await stored.remove(bitmap)
    node.removeDirtyBitmap(bitmap)
    return
  }
  await stored.prepare()
  if (step.kind === 'clear') bitmap.clear(0, bitmap.size)
  else if (step.kind === 'merge') bitmap.merge(find(step.source))
  else bitmap.enabled = step.kind === 'enable'
}

async function contentByDriver(path: string): Promise<Content> {
  await using graph = newGraph()
  const disk = await open(graph, path, { readOnly: true })
  const content: Record<string, string> = {}
  for (const bitmap of disk.node.dirtyBitmaps) {
    const runs: string[] = []
    for (let at = bitmap.nextDirty(0); at !== undefined; at = bitmap.nextDirty(at.offset + at.length)) {
      runs.push(`${at.offset}+${at.length}`)
    }
    content[bitmap.name as string] = `${bitmap.enabled ? 'auto' : ''} ${bitmap.granularity}: ${runs.join(' ')}`
  }
  return content
}

interface QemuBitmap {
  readonly name: string
  readonly granularity: number
  readonly flags: readonly string[]
}

async function contentByQemu(folder: Folder, path: string): Promise<Content> {
  const info = JSON.parse(run('qemu-img', 'info', '-f', 'qcow2', '--output=json', path))
  const bitmaps = (info['format-specific'].data.bitmaps ?? []) as QemuBitmap[]
  if (bitmaps.length === 0) return {}
  const socket = folder.file('socket')
  const words = ['-r', '-t', '-f', 'qcow2', '-k', socket, ...bitmaps.flatMap(({ name }) => ['-B', name]), path]
  const server = spawn('qemu-nbd', words, { stdio: 'ignore' })
  const ended = once(server, 'exit')
  try {
    for (let tries = 0; !existsSync(socket) && tries < 500; tries++) await delay(10)
    const content: Record<string, string> = {}
    for (const { name, granularity, flags } of bitmaps) {
      const context = `x-dirty-bitmap=qemu:dirty-bitmap:${name}`
      const options = `driver=nbd,server.type=unix,server.path=${socket},${context}`
      const extents = JSON.parse(run('qemu-img', 'map', '--output=json', '--image-opts', options)) as {
        start: number
        length: number
        data: boolean
      }[]
      const runs = extents.filter(({ data }) => !data).map(({ start, length }) => `${start}+${length}`)
      content[name] = `${flags.join()} ${granularity}: ${runs.join(' ')}`
    }
    return content
  } finally {
    server.kill()
    await ended
  }
}

describe.skipIf(!haveQemu)(`persistent bitmaps and the real tools (seed ${seed})`, () => {
  it.each(Array.from({ length: 12 }, (_, i) => i))('sequence %i of changes leaves the same bits', async (i) => {
    const random = new Random(seed + i)
    using folder = new Folder()
    const [mixed, theirs] = [folder.file('mixed'), folder.file('theirs')]
    const size = 512 * (500 + random.below(8000))
    const clusterSize = random.pick([512, 1024, 4096, 65536])
    {
      await using graph = newGraph()
      await create(graph, mixed, { size, clusterSize })
    }
    run('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', `cluster_size=${clusterSize}`, theirs, String(size))
    const first: Step = { kind: 'add', name: 'one', granularity: 512 * 2 ** random.below(4), disabled: false }
    const steps = [first, ...stepsFrom(random, size, 14).filter((step) => step.kind !== 'add' || step.name !== 'one')]
    for (const step of steps) {
      const known = await contentByDriver(theirs)
      const wanted = 'name' in step && step.kind !== 'add' ? step.name in known : true
      if (!wanted || (step.kind === 'merge' && !(step.source in known))) continue
      byQemu(theirs, step)
      if (random.chance(0.6)) await byDriver(mixed, step)
      else byQemu(mixed, step)
    }
    const expected = await contentByQemu(folder, theirs)
    expect(await contentByDriver(theirs)).toEqual(expected)
    expect(await contentByDriver(mixed)).toEqual(expected)
    expect(await contentByQemu(folder, mixed)).toEqual(expected)
    expect(qemuCheck(mixed)).toMatchObject({ code: 0 })
    await using graph = newGraph()
    for (const path of [mixed, theirs]) {
      const disk = await open(graph, path, { readOnly: true })
      expect(await disk.check({})).toMatchObject({ corruptions: 0, leaks: 0, checkErrors: 0 })
      await disk.close()
    }
  })
})
