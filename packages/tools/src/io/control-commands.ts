/** Commands that are not about data: breakpoints, waiting, the process itself, help. */
import { type Disk, isBlockError, type Node } from '@diskgraph/core'
import { parseInteger } from '../integers.ts'
import { errnoText } from '../messages.ts'
import { parseAmount } from './numbers.ts'
import { CommandFailure, type IoCommand, type Session, synopsisLine } from './session.ts'

/**
 * Calls an operation of the nearest node from the top down that has it. Filters for debugging sit below formats.
 * @throws CommandFailure `<attempt>: <reason>`
 */
async function control(disk: Disk, operation: string, args: readonly string[], attempt: string): Promise<void> {
  const call = findControl(disk.node, operation)
  if (call === undefined) throw new CommandFailure(`${attempt}: Operation not supported`)
  try {
    await call(...args)
  } catch (error) {
    if (!isBlockError(error)) throw error
    throw new CommandFailure(`${attempt}: ${errnoText(error)}`)
  }
}

function findControl(node: Node, operation: string): ((...args: string[]) => unknown) | undefined {
  for (let at: Node | undefined = node; at !== undefined; ) {
    const { control } = at.image
    if (control !== undefined && Object.hasOwn(control, operation)) {
      const call = control[operation]
      return call?.bind(control)
    }
    at = (at.filtered ?? at.children.get('file'))?.node
  }
  return undefined
}

export const breakCommand: IoCommand = {
  name: 'break',
  minimum: 2,
  maximum: 2,
  synopsis: 'event tag',
  summary: 'holds the next request that raises the event, under the name of the tag',
  run: ({ disk }, { operands }) => control(disk, 'break', operands, 'Could not set breakpoint'),
}

export const removeBreak: IoCommand = {
  name: 'remove_break',
  minimum: 1,
  maximum: 1,
  synopsis: 'tag',
  summary: 'takes a breakpoint away by its tag',
  run: ({ disk }, { operands }) =>
    control(disk, 'remove_break', operands, `Could not remove breakpoint ${operands[0]}`),
}

export const resume: IoCommand = {
  name: 'resume',
  minimum: 1,
  maximum: 1,
  synopsis: 'tag',
  summary: 'lets the request that is held under the tag go on',
  run: ({ disk }, { operands }) => control(disk, 'resume', operands, 'Could not resume request'),
}

export const waitBreak: IoCommand = {
  name: 'wait_break',
  minimum: 1,
  maximum: 1,
  synopsis: 'tag',
  summary: 'waits until a request is held under the tag',
  waits: true,
  run: ({ disk }, { operands }) => control(disk, 'wait_break', operands, 'Could not wait for a request'),
}

export const sleep: IoCommand = {
  name: 'sleep',
  minimum: 1,
  maximum: 1,
  summary: 'waits for a number of milliseconds',
  fileless: true,
  waits: true,
  async run({ terminal }, { operands }) {
    const word = operands[0] as string
    const time = parseInteger(word)
    if (time === undefined || time < 0) throw new CommandFailure(`${word} is not a valid number`)
    await elapsed(time, terminal.signal)
  },
}

function elapsed(time: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, time)
    signal.addEventListener('abort', end)
  })
}

export const abort: IoCommand = {
  name: 'abort',
  minimum: 0,
  maximum: 0,
  summary: 'ends the process by abort(3), as a crash would',
  fileless: true,
  run: () => raise(6),
}

export const sigraise: IoCommand = {
  name: 'sigraise',
  minimum: 1,
  maximum: 1,
  synopsis: 'signal',
  summary: 'raises a signal',
  help: `
 Sends the process a signal by its number; nothing is written or closed before.

 Example:
 'sigraise 9' - the process is gone
`,
  fileless: true,
  run: (_session, { operands }) => raise(parseAmount(operands[0] as string)),
}

/** Sends this process a signal, which then does what it does to a process that does not care. */
function raise(signal: number): void {
  for (const name of ['SIGINT', 'SIGTERM']) process.removeAllListeners(name)
  process.kill(process.pid, signal)
}

export const quit: IoCommand = {
  name: 'quit',
  alias: 'q',
  minimum: 0,
  maximum: Number.POSITIVE_INFINITY,
  summary: 'exit the program',
  fileless: true,
  run(session) {
    session.ended = true
  },
}

export const help: IoCommand = {
  name: 'help',
  alias: '?',
  minimum: 0,
  maximum: 1,
  synopsis: '[command]',
  summary: 'help for one or all commands',
  fileless: true,
  run: runHelp,
}

function runHelp(session: Session, { operands }: { readonly operands: readonly string[] }): void {
  const { commands, terminal } = session
  const [name] = operands
  if (name === undefined) {
    for (const command of commands) terminal.out(`${synopsisLine(command)}\n`)
    terminal.out("\nUse 'help commandname' for extended help.\n")
    return
  }
  const command = session.find(name)
  if (command === undefined) throw new CommandFailure(`command ${name} not found`)
  terminal.out(`${synopsisLine(command)}\n`)
  if (command.help !== undefined) terminal.out(`${command.help}\n`)
}
