/** Colours for the output of commands: each command prints plain text, and its lines are painted on their way out. */

import type { Terminal } from '@diskgraph/tools'
import { type Style, styleFor } from '../style.ts'

type Painter = (line: string, style: Style) => string

/** `terminal`, whose standard output is painted as fits the command called `command`. */
export function painted(terminal: Terminal, command: string): Terminal {
  const painter = Object.hasOwn(painters, command) ? painters[command] : undefined
  if (painter === undefined || !terminal.color) return terminal
  const style = styleFor(terminal)
  return {
    ...terminal,
    signal: terminal.signal,
    out: (text) =>
      terminal.out(
        text
          .split('\n')
          .map((line) => painter(line, style))
          .join('\n'),
      ),
  }
}

const painters: Readonly<Record<string, Painter>> = {
  info: paintInfo,
  check: paintVerdict,
  compare: paintVerdict,
  map: paintTable,
  snapshot: paintTable,
  create: paintDone,
  convert: paintDone,
  resize: paintDone,
  amend: paintDone,
  commit: paintDone,
  rebase: paintDone,
}

function paintInfo(line: string, style: Style): string {
  const image = /^(image|backing file): (.*)$/.exec(line)
  if (image !== null) return `${style.dim(`${image[1]}:`)} ${style.bold(image[2] as string)}`
  if (/^ID +TAG/.test(line)) return style.bold(line)
  const member = /^( *[^:{}"[\]]+:)( .*)?$/.exec(line)
  return member === null || line.includes('"') ? line : style.dim(member[1] as string) + (member[2] ?? '')
}

function paintVerdict(line: string, style: Style): string {
  if (/^(No errors were found|Images are identical)/.test(line)) return style.green(line)
  if (/errors? (were found|have occurred)|mismatch|may be corrupted/.test(line)) return style.red(line)
  if (/^Warning|leaked clusters were found|^This means waste/.test(line)) return style.yellow(line)
  return line
}

function paintTable(line: string, style: Style): string {
  return /^(Offset +Length|ID +TAG|Snapshot list)/.test(line) ? style.bold(line) : paintDone(line, style)
}

function paintDone(line: string, style: Style): string {
  return /^(Image resized|Created|Converted|Applied|Deleted|Amended|Committed|Rebased|Image committed)/.test(line)
    ? style.green(line)
    : line
}
