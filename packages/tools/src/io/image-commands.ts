/** Commands about the open file as a whole: its size, its allocation, what it is. */
import { describeErrorCode, isBlockError, type Node, type Preallocation } from '@diskgraph/core'
import { unfiltered } from '@diskgraph/jobs'
import { specificLines } from '../info-text.ts'
import { CommandError, messageOf } from '../messages.ts'
import { parseAmount, parseRange } from './numbers.ts'
import { amount, report } from './report.ts'
import { attempt, CommandFailure, type IoCommand, type Session, SilentFailure, WrongUsage } from './session.ts'

export const flush: IoCommand = {
  name: 'flush',
  alias: 'f',
  minimum: 0,
  maximum: 0,
  summary: 'puts everything written so far on stable storage',
  waits: true,
  async run({ disk, terminal }) {
    try {
      await disk.flush(terminal.signal)
    } catch (error) {
      throw new SilentFailure('flush failed', { cause: error })
    }
  },
}

export const discard: IoCommand = {
  name: 'discard',
  alias: 'd',
  minimum: 2,
  maximum: Number.POSITIVE_INFINITY,
  synopsis: '[-Cq] off len',
  summary: 'discards a number of bytes at a specified offset',
  letters: 'Cq',
  help: `
 Says that part of the file is no longer needed.

 Example:
 'discard 512 1k' - gives up the 1,024 bytes from offset 512 on

 -C, -- print one line for programs
 -q, -- print no figures
`,
  writes: true,
  waits: true,
  async run(session, words) {
    if (words.operands.length !== 2) throw new WrongUsage()
    const { offset, length } = parseRange(words.operands)
    const begin = performance.now()
    const { disk, terminal } = session
    await attempt('discard', disk.discard(offset, length, terminal.signal))
    if (words.has('q')) return
    const seconds = (performance.now() - begin) / 1000
    session.terminal.out(report({ verb: 'discard', offset, length, total: length, seconds }, words.has('C')))
  },
}

const preallocations: readonly string[] = ['off', 'metadata', 'falloc', 'full'] satisfies Preallocation[]

export const truncate: IoCommand = {
  name: 'truncate',
  alias: 't',
  minimum: 1,
  maximum: 3,
  synopsis: '[-m prealloc_mode] off',
  summary: 'truncates the current file at the given offset',
  letters: 'm:',
  writes: true,
  waits: true,
  async run({ disk, terminal }, words) {
    const mode = words.value('m') ?? 'off'
    if (!preallocations.includes(mode)) throw new CommandError(`Invalid preallocation mode '${mode}'`)
    const [sizeWord] = words.operands
    if (sizeWord === undefined) throw new WrongUsage()
    const size = parseAmount(sizeWord)
    await disk.truncate(size, { preallocation: mode as Preallocation }, terminal.signal)
  },
}

export const length: IoCommand = {
  name: 'length',
  alias: 'l',
  minimum: 0,
  maximum: 0,
  summary: 'shows the size of the current file',
  run({ disk, terminal }) {
    terminal.out(`${amount(disk.size)}\n`)
  },
}

export const info: IoCommand = {
  name: 'info',
  alias: 'i',
  minimum: 0,
  maximum: 0,
  summary: 'shows format, cluster size and what else the format tells',
  waits: true,
  async run({ disk, node, terminal }) {
    const { driver } = node
    // QEMU calls the protocol of a file name so, too.
    for (const name of [driver.name, ...(driver.prefixes ?? []).slice(0, 1)]) terminal.out(`format name: ${name}\n`)
    const { clusterSize, vmStateOffset, specific } = await disk.info()
    if (clusterSize === undefined && !standsOnFile(node)) {
      throw new SilentFailure('neither a format nor a file: there is no more to tell')
    }
    terminal.out(`cluster size: ${amount(clusterSize ?? 0)}\nvm state offset: ${amount(vmStateOffset ?? 0)}\n`)
    // That of an image below a filter is none of the filter's.
    if (specific !== undefined && specific.type === driver.name) {
      terminal.out(`Format specific information:\n${specificLines(specific).join('\n')}\n`)
    }
  },
}

/** Whether the one storage of a node is a file, whatever formats and filters stand between. */
function standsOnFile({ storage, image }: Node): boolean {
  return storage === undefined ? image.identity !== undefined : standsOnFile(storage.node)
}

export const alloc: IoCommand = {
  name: 'alloc',
  alias: 'a',
  minimum: 1,
  maximum: 2,
  synopsis: 'offset [count]',
  summary: 'counts the allocated bytes of a range',
  waits: true,
  async run(session, words) {
    const offset = parseAmount(words.operands[0] as string)
    const count = words.operands[1] === undefined ? 512 : parseAmount(words.operands[1])
    const { disk, terminal } = session
    const end = Math.max(offset, Math.min(offset + count, disk.size))
    let allocated = 0
    for (let at = offset; at < end; ) {
      const run = await allocationAt(disk.node, at, end - at, terminal.signal)
      if (run.allocated) allocated += run.length
      at += run.length
    }
    terminal.out(`${allocated}/${end - offset} bytes allocated at offset ${amount(offset)}\n`)
  },
}

export const map: IoCommand = {
  name: 'map',
  minimum: 0,
  maximum: 0,
  // Without words to show, the line has two spaces here.
  synopsis: '',
  summary: 'shows which parts are allocated in this layer',
  waits: true,
  run: runMap,
}

async function runMap({ disk: { size, node }, terminal }: Session): Promise<void> {
  let begin = 0
  let current: boolean | undefined
  const tell = (end: number): void => {
    const length = end - begin
    terminal.out(
      `${amount(length)} (0x${length.toString(16)}) bytes ${current ? '    ' : 'not '}allocated ` +
        `at offset ${amount(begin)} (0x${begin.toString(16)})\n`,
    )
  }
  for (let at = 0; at < size; ) {
    const run = await allocationAt(node, at, size - at, terminal.signal)
    if (current !== undefined && run.allocated !== current) {
      tell(at)
      begin = at
    }
    current = run.allocated
    at += run.length
  }
  if (current !== undefined) tell(size)
}

/** Whether the layer has a range itself; filters have none. */
async function allocationAt(
  node: Node,
  offset: number,
  length: number,
  signal: AbortSignal,
): Promise<{ allocated: boolean; length: number }> {
  try {
    return await unfiltered(node).blockStatus(offset, length, signal)
  } catch (error) {
    const reason = isBlockError(error) ? describeErrorCode(error.code) : messageOf(error)
    throw new CommandFailure(`is_allocated failed: ${reason}`)
  }
}
