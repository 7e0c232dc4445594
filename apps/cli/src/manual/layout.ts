/** Sections of help texts, no wider than the terminal. */
import type { Terminal } from '@diskgraph/tools'
import type { CommandExample } from '../command.ts'
import { styleFor } from '../style.ts'

/** A term and what there is to say of it. */
export type Row = readonly [term: string, text: string]

/** Lines beyond this are hard to read, however wide the terminal is. */
const widest = 110

/** Rows below a title, in two columns of which the second is broken into lines; nothing where there are no rows. */
export function section(title: string, rows: readonly Row[], terminal: Terminal): string {
  if (rows.length === 0) return ''
  const style = styleFor(terminal)
  const width = Math.max(...rows.map(([term]) => term.length))
  const room = Math.max(20, Math.min(terminal.columns, widest) - width - 4)
  const indent = ' '.repeat(width + 4)
  const text = rows.map(([term, words]) => {
    const lines = broken(words, room).map((line) => style.dim(line))
    return `  ${term.padEnd(width)}  ${lines.join(`\n${indent}`)}\n`
  })
  return `\n${style.bold(title)}\n${text.join('')}`
}

/** Command lines that can be copied, each below what it does. */
export function exampleSection(title: string, examples: readonly CommandExample[], terminal: Terminal): string {
  if (examples.length === 0) return ''
  const style = styleFor(terminal)
  const text = examples.map(([line, what]) => `  ${style.dim(`# ${what}`)}\n  ${terminal.program} ${line}\n`)
  return `\n${style.bold(title)}\n${text.join('')}`
}

/** `text` cut between words, so that no line is longer than `room` unless a word is. */
function broken(text: string, room: number): string[] {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + 1 + word.length <= room) lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
  }
  return lines
}
