import type { Terminal } from '@diskgraph/tools'

/** Puts colours around text, or leaves it alone where the terminal shows none. */
export interface Style {
  bold(text: string): string
  dim(text: string): string
  red(text: string): string
  green(text: string): string
  yellow(text: string): string
  cyan(text: string): string
}

/** The colours of `terminal`. */
export function styleFor(terminal: Pick<Terminal, 'color'>): Style {
  const around = (start: number, end: number) =>
    terminal.color ? (text: string) => `\x1b[${start}m${text}\x1b[${end}m` : (text: string) => text
  return {
    bold: around(1, 22),
    dim: around(2, 22),
    red: around(31, 39),
    green: around(32, 39),
    yellow: around(33, 39),
    cyan: around(36, 39),
  }
}
