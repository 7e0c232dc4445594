/**
 * The same quorum under the real qemu-io and under ours: children of random content with random errors, random reads
 * and writes. Answers, errors and what the children hold in the end are the same.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { type Disk, describeErrorCode, type ErrorCode } from '@diskgraph/core'
import type { InjectErrorOptions } from '@diskgraph/driver-blkdebug'
import type { QuorumOptions } from '@diskgraph/driver-quorum'
import { peer, Random, randomSeed, runTool, TempFolder } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'
import { type Leg, open } from './stack.ts'

const seed = Number(process.env.SEED ?? randomSeed())
const qemu = peer('qemu-io', { describe, it })
const size = 8192

/** Sectors of 1 for the most part, with a few of 2 and 3 among them. */
function randomContent(random: Random): Uint8Array {
  const content = new Uint8Array(size)
  for (let at = 0; at < size; at += 512) content.fill(random.chance(0.8) ? 1 : random.between(2, 3), at, at + 512)
  return content
}

function randomErrors(random: Random): InjectErrorOptions[] | undefined {
  if (random.chance(0.6)) return undefined
  return Array.from({ length: random.between(1, 2) }, () => ({
    event: 'none' as const,
    iotype: random.pick(['read', 'write', 'write-zeroes'] as const),
    errno: random.pick([5, 28, 12]),
    sector: random.between(-1, 15),
    once: random.chance(0.5),
  }))
}

function randomOptions(random: Random, count: number): Omit<QuorumOptions, 'children'> {
  return {
    voteThreshold: random.between(1, count),
    rewriteCorrupted: random.chance(0.5),
    readPattern: random.chance(0.2) ? 'fifo' : 'quorum',
  }
}

function randomCommand(random: Random): string {
  const range = `${random.between(0, 13) * 512 + random.pick([0, 0, 100])} ${random.pick([512, 1024, 100])}`
  const pattern = random.between(1, 4)
  return random.weighted({ [`read -v ${range}`]: 4, [`write -P ${pattern} ${range}`]: 2, [`write -z ${range}`]: 1 })
}

/** The options as one argument of qemu-io. */
function imageOptions(
  options: Omit<QuorumOptions, 'children'>,
  legs: readonly Leg[],
  files: readonly string[],
): string {
  const children = legs.flatMap(({ errors = [] }, i) => [
    `children.${i}.driver=blkdebug,children.${i}.image.driver=file,children.${i}.image.filename=${files[i]}`,
    ...errors.map((rule, r) => {
      const entries = Object.entries(rule).map(([name, value]) => [
        name,
        typeof value === 'boolean' ? (value ? 'on' : 'off') : value,
      ])
      return entries.map(([name, value]) => `children.${i}.inject-error.${r}.${name}=${value}`).join(',')
    }),
  ])
  const { voteThreshold, rewriteCorrupted, readPattern } = options
  const rewrite = rewriteCorrupted ? 'on' : 'off'
  return `driver=quorum,vote-threshold=${voteThreshold},rewrite-corrupted=${rewrite},read-pattern=${readPattern},${children.join(',')}`
}

/** What our disk answers: the bytes of a read in hex, `done`, or the line of a failure. */
async function answer(disk: Disk, command: string): Promise<string> {
  const [verb, how, ...rest] = command.split(' ')
  const numbers = rest.map(Number)
  const [offset = 0, length = 0] = numbers.slice(-2)
  const buf = new Uint8Array(length)
  try {
    if (verb === 'read') await disk.read(offset, buf)
    else if (how === '-z') await disk.writeZeroes(offset, length)
    else await disk.write(offset, buf.fill(numbers[0] as number))
    return verb === 'read' ? Buffer.from(buf).toString('hex') : 'done'
  } catch (error) {
    return `${verb} failed: ${describeErrorCode((error as { code: ErrorCode }).code)}`
  }
}

/** The answers in what qemu-io printed. */
function answersOf(stdout: string): string[] {
  const answers: string[] = []
  let hex = ''
  for (const line of stdout.split('\n')) {
    const [, bytes] = /^[0-9a-f]{8}: {2}((?:[0-9a-f]{2} )+)/.exec(line) ?? []
    if (bytes !== undefined) hex += bytes.replaceAll(' ', '')
    else if (/^read \d+\//.test(line)) {
      answers.push(hex)
      hex = ''
    } else if (/^wrote \d+\//.test(line)) answers.push('done')
    else if (/ failed: /.test(line)) answers.push(line)
  }
  return answers
}

qemu.describe(`quorum beside qemu-io (seed ${seed})`, () => {
  it('answers, fails and corrects the same', async () => {
    const random = new Random(seed)
    await using folder = await TempFolder.make()
    for (let i = 0; i < 60; i++) {
      const legs: Leg[] = Array.from({ length: random.between(1, 5) }, () => ({
        size,
        content: randomContent(random),
        ...errorsOf(random),
      }))
      const options = randomOptions(random, legs.length)
      const commands = Array.from({ length: 20 }, () => randomCommand(random))
      const files = legs.map((_, leg) => folder.file(`leg${leg}`))
      for (const [leg, file] of files.entries()) await writeFile(file, legs[leg]?.content ?? '')
      const args = ['-t', 'writeback', '--image-opts', imageOptions(options, legs, files)]
      const { stdout } = await runTool('qemu-io', [...args, ...commands.flatMap((command) => ['-c', command])])

      const { graph, disk, storages } = await open(options, legs)
      const ours: string[] = []
      for (const command of commands) ours.push(await answer(disk, command))
      await graph.close().catch(() => undefined)
      const message = `${imageOptions(options, legs, files)}\n${commands.join('\n')}`
      expect(ours, message).toEqual(answersOf(stdout))
      for (const [leg, file] of files.entries()) {
        const content = new Uint8Array(size)
        storages[leg]?.read(0, content)
        expect(Buffer.from(content).equals(await readFile(file)), `${message}\ncontent of child ${leg}`).toBe(true)
      }
    }
  })
})

function errorsOf(random: Random): Pick<Leg, 'errors'> {
  const errors = randomErrors(random)
  return errors === undefined ? {} : { errors }
}
