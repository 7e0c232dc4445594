/** `resize`: sets a new size, or grows or shrinks by one. */

import type { Disk, Preallocation } from '@diskgraph/core'
import { parseSize } from '@diskgraph/core/driver'
import {
  CommandError,
  messageOf,
  readSize,
  reportError,
  reportWarning,
  type Terminal,
  UsageError,
} from '@diskgraph/tools'
import type { Command } from '../command.ts'
import { CommandLine } from '../command-line.ts'
import { ImageOptions, imageGrammar } from '../image-options.ts'
import { openImage, withGraph } from '../opening.ts'

const grammar = {
  ...imageGrammar,
  preallocation: {
    long: 'preallocation',
    argument: 'off|metadata|falloc|full',
    description: 'how the added space is allocated',
  },
  shrink: { long: 'shrink', description: 'allow a smaller size: what is behind it is lost' },
  quiet: { short: 'q', description: 'print errors only' },
} as const

const preallocations: readonly string[] = ['off', 'metadata', 'falloc', 'full']

interface Change {
  /** Bytes to add (1), to take away (-1), or the new size itself (0). */
  readonly relative: -1 | 0 | 1
  readonly bytes: number
  readonly preallocation: Preallocation
  readonly shrink: boolean
}

/** Resizes as the last word says: `10G`, `+1G`, `-512M`. */
export const resize: Command = {
  group: 'change',
  summary: 'grow, or with --shrink shrink',
  operands: 'FILE [+|-]SIZE',
  options: grammar,
  examples: [
    ['resize disk.qcow2 +1G', 'a GiB more'],
    ['resize --shrink disk.qcow2 32M', 'the end is cut off'],
  ],
  async run(words: readonly string[], terminal: Terminal): Promise<number> {
    // The last word is the size, whatever it begins with.
    if (words.length < 2 && !words.some((word) => word === '-h' || word === '--help')) {
      throw new UsageError('Not enough arguments')
    }
    const last = words.at(-1) as string
    const options = new ImageOptions()
    let preallocation: Preallocation = 'off'
    let shrink = false
    let quiet = false
    const line = new CommandLine(grammar, words.slice(0, -1))
    for (const option of line) {
      if (option.name === 'preallocation') preallocation = readPreallocation(option.value)
      else if (option.name === 'shrink') shrink = true
      else if (option.name === 'quiet') quiet = true
      else options.take(option)
    }
    if (line.operands.length !== 1) throw new UsageError('Expecting image file name and size')
    const change = { ...readChange(last), preallocation, shrink }
    const request = {
      ...options.opening,
      filename: line.operands[0] as string,
      writable: true,
      signal: terminal.signal,
    }
    return withGraph(terminal, options.objects, async (graph) => {
      const disk = await openImage(graph, request)
      const done = await resizeDisk(disk, change, terminal)
      await disk.close()
      if (done && !quiet) terminal.out('Image resized.\n')
      return done ? 0 : 1
    })
  },
}

function readPreallocation(value: string): Preallocation {
  if (!preallocations.includes(value)) throw new CommandError(`Invalid preallocation mode '${value}'`)
  return value as Preallocation
}

function readChange(word: string): { relative: -1 | 0 | 1; bytes: number } {
  const relative = word.startsWith('+') ? 1 : word.startsWith('-') ? -1 : 0
  const text = relative === 0 ? word : word.slice(1)
  const bytes = parseSize(text)
  if (bytes !== undefined) return { relative, bytes }
  if (readSize(text) === 'range') throw new CommandError(`Value '${text}' is out of range for parameter 'size'`)
  throw new CommandError("Parameter 'size' expects a non-negative number below 2^64", { hint: suffixHint })
}

const suffixHint =
  'Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-\nand exabytes, respectively.'

async function resizeDisk(disk: Disk, change: Change, terminal: Terminal): Promise<boolean> {
  const before = disk.size
  const total = change.relative === 0 ? change.bytes : before + change.relative * change.bytes
  if (total <= 0 || total >= 2 ** 63) throw new CommandError('New image size must be positive')
  if (total <= before && change.preallocation !== 'off') {
    throw new CommandError('Preallocation can only be used for growing images')
  }
  if (total < before && !change.shrink) {
    reportError(terminal, 'Use the --shrink option to perform a shrink operation.')
    reportWarning(
      terminal,
      "Shrinking an image will delete all data beyond the shrunken image's end. " +
        'Before performing such an operation, make sure there is no important data there.',
    )
    return false
  }
  try {
    await disk.truncate(total, { exact: true, preallocation: change.preallocation }, terminal.signal)
  } catch (error) {
    if (terminal.signal.aborted) throw error
    throw new CommandError(messageOf(error), { cause: error })
  }
  return true
}
