/** Conversion: sources opened, a target made, the copy, and order on every way out. */

import { type DirtyBitmap, type Disk, type Graph, Permission } from '@diskgraph/core'
import { addBitmap, copy, mergeBitmaps, unfiltered } from '@diskgraph/jobs'
import { CommandError, errnoText, reportWarning, type Terminal, visible } from '@diskgraph/tools'
import { newImageDrivers, newImageHelp } from '../create-options.ts'
import { asksForHelp } from '../key-values.ts'
import { openFailure, openImage } from '../opening.ts'
import { fromJob, type Progress, progressFor } from '../progress.ts'
import { loadSnapshot } from '../snapshot-source.ts'
import { refuseSharedStorage } from '../storage-nodes.ts'
import { type ConvertRequest, checkConvert, targetOf } from './convert-request.ts'
import { copyFailure } from './copy-failure.ts'
import { type NewTarget, planTarget } from './new-target.ts'

/** The name that stands for standard input and standard output. */
const streamName = '-'

/** Converts as `request` says. A target that was made here is gone again when this fails. */
export async function convertImages(graph: Graph, request: ConvertRequest, terminal: Terminal): Promise<void> {
  checkConvert(request)
  if (request.options !== undefined && asksForHelp(request.options)) {
    const filename = request.target === '' ? undefined : request.target
    terminal.out(
      newImageHelp(await newImageDrivers(graph, request.targetFormat ?? 'raw', filename), filename, terminal.forPeople),
    )
    return
  }
  if (request.sources.length === 0) throw new CommandError('Must specify image file name')
  if (terminal.forPeople && (request.sources.includes(streamName) || request.target === streamName)) {
    return convertStreams(graph, request, terminal)
  }
  const progress = progressFor(terminal, 'convert', request.progress && !request.quiet)
  try {
    await convertWith(progress, graph, request, terminal)
  } finally {
    progress.end()
  }
}

/** Standard input as a source, or standard output as the target. */
async function convertStreams(graph: Graph, request: ConvertRequest, terminal: Terminal): Promise<void> {
  const { convertFromPipe, standardInputFile, throughTemporaryFile, writeImage, writeRaw } = await import(
    './convert-streams.ts'
  )
  if (request.sources.includes(streamName)) {
    const file = standardInputFile()
    if (file === undefined) return convertFromPipe(graph, request, terminal)
    request.sources = request.sources.map((name) => (name === streamName ? file : name))
  }
  if (request.target !== streamName) return convertImages(graph, request, terminal)
  if ((request.targetFormat ?? 'raw') !== 'raw') {
    if (request.sources.length === 1 && (await convertInOneGo(graph, request, terminal, writeImage))) return
    return throughTemporaryFile(terminal, async (filename) => {
      request.target = filename
      await convertImages(graph, request, terminal)
    })
  }
  try {
    await writeRaw(await openSources(graph, request, terminal), request, terminal)
  } catch (error) {
    throw copyFailure(error, terminal.signal)
  }
}

/** Whether the image could be written to standard output without seeking. */
async function convertInOneGo(
  graph: Graph,
  request: ConvertRequest,
  terminal: Terminal,
  write: (graph: Graph, disk: Disk, request: ConvertRequest, terminal: Terminal) => Promise<boolean>,
): Promise<boolean> {
  const [disk] = await openSources(graph, request, terminal)
  try {
    return await write(graph, disk as Disk, request, terminal)
  } catch (error) {
    throw copyFailure(error, terminal.signal)
  } finally {
    await disk?.close()
  }
}

async function convertWith(
  progress: Progress,
  graph: Graph,
  request: ConvertRequest,
  terminal: Terminal,
): Promise<void> {
  const sources = await openSources(graph, request, terminal)
  const size = sources.reduce((sum, disk) => sum + disk.size, 0)
  const planned = request.skipCreation ? undefined : await planTarget(graph, targetOf(request, size))
  const bitmaps = copiedBitmaps(request, sources, terminal)
  const { targetMode } = request
  if (terminal.forPeople && !request.quiet && !request.bitmaps) tellLeftBitmaps(sources, terminal)
  await planned?.make(graph, terminal)
  let target: Disk | undefined
  try {
    target = await openImage(graph, {
      filename: request.target,
      ...(request.targetImageOpts ? { imageOpts: true } : { format: request.targetFormat ?? 'raw' }),
      writable: true,
      cache: targetMode,
      options: { discard: 'unmap', ...planned?.encryption },
      signal: terminal.signal,
    })
    refuseOwnSource(graph, target, request.target)
    if (request.bitmaps && target.node.image.bitmaps?.supported !== true) {
      throw new CommandError(`Format driver '${target.node.driver.name}' does not support bitmaps`)
    }
    if (target.size < size) throw new CommandError('output file is smaller than input file')
    await copyAll({ request, sources, target, planned, terminal, progress })
    if (bitmaps.length > 0) await copyBitmaps(graph, bitmaps, sources[0] as Disk, target)
    progress.update(1, 1)
    await target.close()
  } catch (error) {
    await target?.close().catch(() => undefined)
    await planned?.remove(graph).catch((failure) => graph.warn(`cannot remove the target: ${errnoText(failure)}`))
    throw copyFailure(error, terminal.signal)
  }
}

function refuseOwnSource(graph: Graph, target: Disk, filename: string): void {
  try {
    refuseSharedStorage(graph, target)
  } catch (error) {
    throw openFailure(filename, error)
  }
}

async function openSources(graph: Graph, request: ConvertRequest, terminal: Terminal): Promise<Disk[]> {
  const { sourceMode, format, imageOpts, forceShare, snapshot } = request
  const disks: Disk[] = []
  for (const filename of request.sources) {
    const opening = { filename, format, imageOpts, forceShare, cache: sourceMode, signal: terminal.signal }
    const disk = await openImage(graph, opening)
    disks.push(forceShare ? disk : await unshared(graph, disk, filename))
  }
  if (snapshot !== undefined) {
    if (disks.length > 1) throw new CommandError('No support for concatenating multiple snapshot')
    await loadSnapshot(disks[0] as Disk, snapshot)
  }
  return disks
}

/** The same disk, which nobody may write to while it is copied. */
async function unshared(graph: Graph, disk: Disk, filename: string): Promise<Disk> {
  const { ConsistentRead, WriteUnchanged } = Permission
  try {
    return await graph.attach(disk.node, { permissions: ConsistentRead, shared: ConsistentRead | WriteUnchanged })
  } catch (error) {
    throw openFailure(filename, error)
  } finally {
    await disk.close()
  }
}

/** The bitmaps that are to be copied. Refuses what cannot be copied before a target is made. */
function copiedBitmaps(request: ConvertRequest, sources: readonly Disk[], terminal: Terminal): readonly DirtyBitmap[] {
  if (!request.bitmaps) return []
  if (sources.length > 1) throw new CommandError('Copying bitmaps only possible with single source')
  const { node } = sources[0] as Disk
  if (node.image.bitmaps?.supported !== true) throw new CommandError('Source lacks bitmap support')
  // The youngest first, as QEMU goes through them.
  const found = node.dirtyBitmaps.filter(({ persistent }) => persistent).reverse()
  for (const { name, inconsistent } of found) {
    if (!inconsistent) continue
    if (request.skipBrokenBitmaps) reportWarning(terminal, `Skipping inconsistent bitmap '${name}'`)
    else {
      const hint = "Try --skip-broken-bitmaps, or use 'qemu-img bitmap --remove' to delete it"
      throw new CommandError(`Cannot copy inconsistent bitmap '${name}'`, { hint })
    }
  }
  return found.filter(({ inconsistent }) => !inconsistent)
}

/** QEMU's tools say nothing of what they leave out. */
function tellLeftBitmaps(sources: readonly Disk[], terminal: Terminal): void {
  const names = sources.flatMap(({ node }) =>
    node.dirtyBitmaps.flatMap(({ persistent, name }) =>
      persistent && name !== undefined ? [`'${visible(name)}'`] : [],
    ),
  )
  if (names.length === 0) return
  terminal.err(`${terminal.program}: not copied: bitmap ${names.join(', ')} (--bitmaps copies them, to qcow2)\n`)
}

/** Makes the same bitmaps in the target. They record nothing before the copy is complete. */
async function copyBitmaps(graph: Graph, bitmaps: readonly DirtyBitmap[], source: Disk, target: Disk): Promise<void> {
  for (const { name, granularity, enabled } of bitmaps) {
    const settings = { name: name as string, granularity, persistent: true, disabled: !enabled }
    await addBitmap(graph, target.node, settings)
    await mergeBitmaps(target.node, settings.name, [{ node: source.node, name: settings.name }])
  }
}

interface Conversion {
  readonly request: ConvertRequest
  readonly sources: readonly Disk[]
  readonly target: Disk
  readonly planned: NewTarget | undefined
  readonly terminal: Terminal
  readonly progress: Progress
}

function copyAll({ request, sources, target, planned, terminal, progress }: Conversion): Promise<void> {
  const hasBacking = unfiltered(target.node).backing !== undefined || planned?.backingFile !== undefined
  const isNew = planned !== undefined && target.edge.zeroInit
  const told = (request.progress && !request.quiet) || terminal.forPeople
  return copy(sources, target, {
    sync: hasBacking ? 'top' : 'full',
    targetIsZero: hasBacking ? false : request.targetIsZero || isNew || undefined,
    sparseSize: request.zeroRun,
    compressed: request.compress,
    parallel: request.lanes,
    ordered: !request.unordered,
    offload: request.offload,
    speed: request.rate || undefined,
    onUnreadable: request.salvage ? tellUnreadable(request, terminal) : undefined,
    onProgress: told ? fromJob(progress) : undefined,
    signal: terminal.signal,
  })
}

function tellUnreadable({ quiet }: ConvertRequest, terminal: Terminal): (offset: number, error: unknown) => void {
  return (offset, error) => {
    if (!quiet) reportWarning(terminal, `error while reading offset ${offset}: ${errnoText(error)}`)
  }
}
