/**
 * Runs the same command lines with the real tool and with ours, in two copies of a folder, and compares what they
 * print and their exit codes. Lines of a group run one after the other in the same folder.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Program, runProgram } from '../src/main.ts'
import { capturedTerminal } from './captured-terminal.ts'

/** Command lines that are compared, one after the other in one folder. */
export interface Group {
  readonly name: string
  /** Command lines of the real tools, with their names, that prepare the folder. */
  readonly setup?: readonly string[]
  /**
   * Words behind the name of the program. A line `!qemu-io …` is run with the real tool on both
   * sides; of a line `=info …` the real tool's answers about both sides are compared.
   */
  readonly lines: readonly string[]
  /** Lines that are answered in other words on purpose, and why. They still run. */
  readonly deliberate?: Readonly<Record<string, string>>
}

/** What one program did with one line. */
export interface Outcome {
  readonly stdout: string
  readonly stderr: string
  readonly code: number
}

/** One line with both outcomes, made comparable. */
export interface Comparison {
  readonly line: string
  readonly theirs: Outcome
  readonly ours: Outcome
  readonly identical: boolean
  /** Why the two differ, where that is on purpose. */
  readonly deliberate: string | undefined
}

/** Runs a group on both sides. */
export async function runGroup(group: Group, tool: string, program: Program): Promise<Comparison[]> {
  const root = mkdtempSync(join(tmpdir(), 'differential-'))
  const back = process.cwd()
  const [theirs, ours] = [join(root, 'theirs'), join(root, 'ours')]
  try {
    // Made twice, as a copy would have other holes.
    for (const folder of [theirs, ours]) {
      mkdirSync(folder)
      for (const line of group.setup ?? []) runReal(line, folder)
    }
    const comparisons: Comparison[] = []
    for (const line of group.lines) {
      if (line.startsWith('!')) {
        for (const folder of [theirs, ours]) runReal(line.slice(1), folder)
        continue
      }
      const comparison = await compareLine(line, tool, program, theirs, ours)
      comparisons.push({ ...comparison, deliberate: group.deliberate?.[line] })
    }
    return comparisons
  } finally {
    process.chdir(back)
    rmSync(root, { recursive: true, force: true })
  }
}

async function compareLine(
  line: string,
  tool: string,
  program: Program,
  theirs: string,
  ours: string,
): Promise<Omit<Comparison, 'deliberate'>> {
  if (line.startsWith('=')) return compareSides(line, tool, theirs, ours)
  const words = splitWords(line)
  const theirOutcome = comparable(runTool(tool, words, theirs))
  process.chdir(ours)
  const terminal = capturedTerminal(tool)
  const code = await runProgram(program, words, terminal)
  const ourOutcome = comparable({ stdout: terminal.stdout, stderr: terminal.stderr, code })
  const identical =
    theirOutcome.stdout === ourOutcome.stdout &&
    theirOutcome.stderr === ourOutcome.stderr &&
    theirOutcome.code === ourOutcome.code
  return { line, theirs: theirOutcome, ours: ourOutcome, identical }
}

/** What the real tool says of what it made itself, and of what we made. */
function compareSides(line: string, tool: string, theirs: string, ours: string): Omit<Comparison, 'deliberate'> {
  const words = splitWords(line.slice(1))
  const outcomes = [theirs, ours].map((folder) => comparable(runTool(tool, words, folder))) as [Outcome, Outcome]
  return {
    line,
    theirs: outcomes[0],
    ours: outcomes[1],
    identical: JSON.stringify(outcomes[0]) === JSON.stringify(outcomes[1]),
  }
}

function runTool(tool: string, words: readonly string[], cwd: string): Outcome {
  const result = spawnSync(tool, words, { cwd, encoding: 'utf8', timeout: 30_000, input: '' })
  return { stdout: result.stdout, stderr: result.stderr, code: result.status ?? -1 }
}

/** Runs a real tool; anything but success ends the test. */
function runReal(line: string, cwd: string): void {
  const result = spawnSync('/bin/sh', ['-c', line], { cwd, encoding: 'utf8', timeout: 30_000 })
  if (result.status !== 0) throw new Error(`'${line}' failed: ${result.stderr}`)
}

/** Takes out what may differ between two runs of the same tool: the clock, and what the file system allocated. */
function comparable({ stdout, stderr, code }: Outcome): Outcome {
  const clean = (text: string): string =>
    text
      .replace(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/g, 'DATE')
      .replace(/"date-(n?sec)": \d+/g, '"date-$1": N')
      .replace(/disk size: .*/g, 'disk size: N')
      .replace(/"actual-size": \d+/g, '"actual-size": N')
      .replace(/#block\d+/g, '#blockN')
      .replace(/ \(\d+\.\d\d\/100%\)\r(?= {4}\()/g, ' (…)\r')
  return { stdout: clean(stdout), stderr: clean(stderr), code }
}

/** Words of a line: split at spaces, quotes of both kinds keep them together. */
export function splitWords(line: string): string[] {
  const words = line.match(/(?:[^\s'"]|'[^']*'|"[^"]*")+/g) ?? []
  return words.map((word) => word.replace(/'([^']*)'|"([^"]*)"/g, (_, single, double) => single ?? double))
}

/** Both outcomes one below the other, for the message of a test that failed. */
export function describeDifference(tool: string, { line, theirs, ours }: Comparison): string {
  const one = (name: string, { stdout, stderr, code }: Outcome): string =>
    `--- ${name}: exit code ${code}\n${stdout}${stderr === '' ? '' : `(stderr)\n${stderr}`}`
  return `${tool} ${line}\n${one(tool, theirs)}\n${one('ours', ours)}`
}
