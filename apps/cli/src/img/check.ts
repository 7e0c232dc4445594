/** `check`: looks for inconsistencies of an image's metadata and repairs them. */

import type { CheckOptions, Disk, ImageCheck, Repair } from '@diskgraph/core'
import {
  CommandError,
  cacheMode,
  errnoText,
  messageOf,
  qemuJson,
  reportError,
  showFailure,
  type Terminal,
  twoDecimals,
  UsageError,
  visible,
} from '@diskgraph/tools'
import type { Command } from '../command.ts'
import { CommandLine } from '../command-line.ts'
import { ImageOptions, imageGrammar, outputGrammar, shareGrammar } from '../image-options.ts'
import { openImage, withGraph } from '../opening.ts'
import { progressFor } from '../progress.ts'

const grammar = {
  ...imageGrammar,
  ...outputGrammar,
  ...shareGrammar,
  format: { short: 'f', long: 'format', argument: 'FORMAT', description: 'format of the image' },
  repair: {
    short: 'r',
    long: 'repair',
    argument: 'leaks|all',
    description: 'repair leaks, or everything; the latter may choose wrongly',
  },
  cache: { short: 'T', argument: 'CACHE', description: 'cache mode' },
  quiet: { short: 'q', description: 'print errors only' },
} as const

/** Exit codes, as scripts know them. */
const exitCode = { good: 0, failed: 1, corrupt: 2, leaks: 3, notSupported: 63 } as const

/** Prints what QEMU prints of a check, or its figures as JSON. */
export const check: Command = {
  group: 'look',
  summary: 'look for damage, repair it',
  operands: 'FILE',
  options: grammar,
  examples: [
    ['check disk.qcow2', 'is it sound?'],
    ['check -r leaks disk.qcow2', 'give back clusters that nobody uses'],
  ],
  exitCodes: { 2: 'the image is damaged', 3: 'the image has leaks only', 63: 'the format has no checks' },
  async run(words: readonly string[], terminal: Terminal): Promise<number> {
    const options = new ImageOptions()
    let repair: Repair = 'none'
    let cacheName = 'writeback'
    let quiet = false
    const line = new CommandLine(grammar, words)
    for (const option of line) {
      if (option.name === 'repair') repair = readRepair(option.value)
      else if (option.name === 'cache') cacheName = option.value
      else if (option.name === 'quiet') quiet = true
      else options.take(option)
    }
    const filename = options.oneFilename(line.operands)
    options.checkFormat()
    const cache = cacheMode(cacheName)
    if (cache === undefined) throw new CommandError(`Invalid source cache option: ${cacheName}`)
    const request = {
      ...options.opening,
      filename,
      cache,
      writable: repair !== 'none',
      checking: true,
      signal: terminal.signal,
    }
    return withGraph(terminal, options.objects, async (graph) => {
      const disk = await openImage(graph, request)
      const code = await checkDisk(disk, { filename, repair, quiet, json: options.json }, terminal)
      await disk.close()
      return code
    })
  },
}

function readRepair(value: string): Repair {
  if (value === 'leaks' || value === 'all') return value
  throw new UsageError(`Unknown option value for -r (expecting 'leaks' or 'all'): ${value}`)
}

interface Report {
  readonly filename: string
  readonly repair: Repair
  readonly quiet: boolean
  readonly json: boolean
}

async function checkDisk(disk: Disk, report: Report, terminal: Terminal): Promise<number> {
  if (disk.node.image.check === undefined) {
    reportError(terminal, 'This image format does not support checks')
    return exitCode.notSupported
  }
  const first = await runCheck(disk, report.repair, terminal)
  let found = first
  if (first.leaksFixed > 0 || first.corruptionsFixed > 0) {
    if (!report.quiet && !report.json) terminal.out(repairText(first))
    found = await runCheck(disk, 'none', terminal)
  }
  const fixed = { leaksFixed: first.leaksFixed, corruptionsFixed: first.corruptionsFixed }
  if (!report.quiet) {
    if (report.json) terminal.out(`${qemuJson(members({ ...found, ...fixed }, report.filename, disk))}\n`)
    else terminal.out(resultText(found))
  }
  if (found.checkErrors > 0) return exitCode.failed
  if (found.corruptions > 0) return exitCode.corrupt
  return found.leaks > 0 ? exitCode.leaks : exitCode.good
}

/** Runs one check; what it finds is told on standard error as it comes. */
async function runCheck(disk: Disk, repair: Repair, terminal: Terminal): Promise<ImageCheck> {
  const progress = progressFor(terminal, 'check', false)
  const options: CheckOptions = {
    repair,
    signal: terminal.signal,
    onFinding: (_, text) => {
      progress.end()
      terminal.err(`${visible(text)}\n`)
    },
    onProgress: (done, total) => progress.update(done, total),
  }
  try {
    return await disk.check(options)
  } catch (error) {
    if (terminal.signal.aborted) throw error
    if (error instanceof Error && error.message.startsWith('ERROR ') && !terminal.forPeople) {
      showFailure(terminal, error)
      throw new CommandError(`Check failed: ${errnoText(error)}`)
    }
    const reason = terminal.forPeople ? messageOf(error) : errnoText(error)
    throw new CommandError(`Check failed: ${reason}`, { cause: error })
  } finally {
    progress.end()
  }
}

function repairText(fixed: ImageCheck): string {
  return `The following inconsistencies were found and repaired:

    ${fixed.leaksFixed} leaked clusters
    ${fixed.corruptionsFixed} corruptions

Double checking the fixed image now...
`
}

function resultText(found: ImageCheck): string {
  return (
    verdict(found) + clusterLine(found) + (found.imageEndOffset ? `Image end offset: ${found.imageEndOffset}\n` : '')
  )
}

function verdict({ corruptions, leaks, checkErrors }: ImageCheck): string {
  if (corruptions === 0 && leaks === 0 && checkErrors === 0) return 'No errors were found on the image.\n'
  const parts: string[] = []
  if (corruptions > 0) {
    parts.push(
      `\n${corruptions} errors were found on the image.\nData may be corrupted, or further writes to the image may corrupt it.\n`,
    )
  }
  if (leaks > 0) {
    parts.push(
      `\n${leaks} leaked clusters were found on the image.\nThis means waste of disk space, but no harm to data.\n`,
    )
  }
  if (checkErrors > 0) parts.push(`\n${checkErrors} internal errors have occurred during the check.\n`)
  return parts.join('')
}

function clusterLine(found: ImageCheck): string {
  const { totalClusters = 0, allocatedClusters = 0, fragmentedClusters = 0, compressedClusters = 0 } = found
  if (totalClusters === 0 || allocatedClusters === 0) return ''
  const percent = (part: number, whole: number): string => `${twoDecimals((part * 100) / whole)}%`
  const shares = [
    `${percent(allocatedClusters, totalClusters)} allocated`,
    `${percent(fragmentedClusters, allocatedClusters)} fragmented`,
    `${percent(compressedClusters, allocatedClusters)} compressed clusters`,
  ]
  return `${allocatedClusters}/${totalClusters} = ${shares.join(', ')}\n`
}

/** QAPI's ImageCheck: figures of zero are left out, but for the internal errors. */
function members(found: ImageCheck, filename: string, disk: Disk): Record<string, unknown> {
  const some = (figure: number | undefined): number | undefined => (figure === 0 ? undefined : figure)
  return {
    filename,
    format: disk.node.driver.name,
    'check-errors': found.checkErrors,
    'image-end-offset': some(found.imageEndOffset),
    corruptions: some(found.corruptions),
    leaks: some(found.leaks),
    'corruptions-fixed': some(found.corruptionsFixed),
    'leaks-fixed': some(found.leaksFixed),
    'total-clusters': some(found.totalClusters),
    'allocated-clusters': some(found.allocatedClusters),
    'fragmented-clusters': some(found.fragmentedClusters),
    'compressed-clusters': some(found.compressedClusters),
  }
}
