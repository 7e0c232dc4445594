/** `compare`: whether two images have the same content, or in strict mode the same allocation, too. */

import type { Disk } from '@diskgraph/core'
import { compare as compareDisks, type Difference, JobError } from '@diskgraph/jobs'
import { CommandError, cacheMode, errnoText, showFailure, type Terminal, UsageError } from '@diskgraph/tools'
import type { Command } from '../command.ts'
import { CommandLine } from '../command-line.ts'
import { ImageOptions, imageGrammar, shareGrammar } from '../image-options.ts'
import { type OpenRequest, openImage, withGraph } from '../opening.ts'
import { fromJob, type Progress, progressFor } from '../progress.ts'

const grammar = {
  ...imageGrammar,
  ...shareGrammar,
  secondFormat: { short: 'F', argument: 'FORMAT', description: 'format of the second image' },
  cache: { short: 'T', argument: 'CACHE', description: 'cache mode' },
  progress: { short: 'p', description: 'show progress' },
  quiet: { short: 'q', description: 'print errors only' },
  strict: { short: 's', description: 'other sizes and other holes are differences, too' },
} as const

/** Exit codes, as scripts know them. */
const exitCode = { same: 0, different: 1, failed: 2, statusFailed: 3, readFailed: 4 } as const

interface Flags {
  progress: boolean
  quiet: boolean
  strict: boolean
}

/** Says where two images differ first. */
export const compare: Command = {
  group: 'look',
  summary: 'whether two images have the same content',
  operands: 'FILE FILE',
  options: grammar,
  examples: [['compare disk.qcow2 disk.raw', 'where they differ first, if they do']],
  exitCodes: {
    1: 'the images differ',
    2: 'an image cannot be opened',
    3: 'a part cannot be asked for',
    4: 'a part cannot be read',
  },
  async run(words: readonly string[], terminal: Terminal): Promise<number> {
    const options = new ImageOptions()
    const flags: Flags = { progress: false, quiet: false, strict: false }
    let secondFormat: string | undefined
    let cacheName = 'writeback'
    const line = new CommandLine(grammar, words)
    for (const option of line) {
      const { name, value } = option
      if (name === 'secondFormat') secondFormat = value
      else if (name === 'cache') cacheName = value
      else if (name === 'progress' || name === 'quiet' || name === 'strict') flags[name] = true
      else options.take(option)
    }
    const [first, second] = line.operands
    if (line.operands.length !== 2) throw new UsageError('Expecting two image file names')
    const cache = cacheMode(cacheName)
    if (cache === undefined) {
      throw new CommandError(`Invalid source cache option: ${cacheName}`, { exitCode: exitCode.failed })
    }
    const requests: OpenRequest[] = [
      { ...options.opening, filename: first as string, cache, signal: terminal.signal },
      { ...options.opening, format: secondFormat, filename: second as string, cache, signal: terminal.signal },
    ]
    return withGraph(terminal, options.objects, async (graph) => {
      const disks: Disk[] = []
      try {
        for (const request of requests) disks.push(await openImage(graph, request))
      } catch (error) {
        showFailure(terminal, error)
        return exitCode.failed
      }
      const code = await run(disks, line.operands, flags, terminal)
      for (const disk of disks) await disk.close()
      return code
    })
  },
}

async function run(
  disks: readonly Disk[],
  names: readonly string[],
  { progress: wanted, quiet, strict }: Flags,
  terminal: Terminal,
): Promise<number> {
  const progress = progressFor(terminal, 'compare', wanted && !quiet, 2)
  try {
    const difference = await compareDisks(disks[0] as Disk, disks[1] as Disk, {
      strict,
      signal: terminal.signal,
      onSizeMismatch: () => {
        if (!quiet && !strict) say(terminal, progress, 'Warning: Image size mismatch!')
      },
      onProgress: fromJob(progress),
    })
    if (!quiet) say(terminal, progress, describe(difference))
    return difference === undefined ? exitCode.same : exitCode.different
  } catch (error) {
    throw failure(error, names, terminal)
  } finally {
    progress.end()
  }
}

/** A bar gives way to the message; QEMU's percentages end behind it. */
function say(terminal: Terminal, progress: Progress, message: string): void {
  if (terminal.forPeople) progress.end()
  terminal.out(`${message}\n`)
}

function describe(difference: Difference | undefined): string {
  if (difference === undefined) return 'Images are identical.'
  if (difference.kind === 'size') return 'Strict mode: Image size mismatch!'
  if (difference.kind === 'status') return `Strict mode: Offset ${difference.offset} block status mismatch!`
  return `Content mismatch at offset ${difference.offset}!`
}

function failure(error: unknown, names: readonly string[], terminal: Terminal): unknown {
  if (terminal.signal.aborted || !(error instanceof JobError)) return error
  const { operation, offset, disk } = error.request
  const { cause } = error
  if (operation === 'read') {
    const name = names[disk === 'first' ? 0 : 1]
    const message = `Error while reading offset ${offset} of ${name}: ${errnoText(cause)}`
    return new CommandError(message, { exitCode: exitCode.readFailed, cause })
  }
  return new CommandError(`Sector allocation test failed for ${disk} image: ${errnoText(cause)}`, {
    exitCode: exitCode.statusFailed,
    cause,
  })
}
