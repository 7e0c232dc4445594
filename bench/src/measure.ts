/** Runs a command as a whole process and measures it from outside. */
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** What one run cost. */
interface Run {
  readonly seconds: number
  /** Peak resident memory in bytes; 0 where /proc does not tell. */
  readonly peakMemory: number
}

/** A program and its arguments. */
export type Command = readonly string[]

/** Runs `command` once. Throws with its standard error if it does not end with one of `okCodes`. */
export function run(command: Command, okCodes: readonly number[] = [0]): Promise<Run> {
  const [program, ...args] = command
  return new Promise((resolve, reject) => {
    const start = performance.now()
    const child = spawn(program as string, args, { stdio: ['ignore', 'ignore', 'pipe'] })
    let peakMemory = 0
    let complaints = ''
    const look = setInterval(() => {
      peakMemory = Math.max(peakMemory, peakOf(child.pid))
    }, 10)
    child.stderr.on('data', (text) => {
      complaints += text
    })
    child.on('error', reject)
    child.on('close', (code) => {
      clearInterval(look)
      const seconds = (performance.now() - start) / 1000
      if (okCodes.includes(code ?? -1)) resolve({ seconds, peakMemory })
      else reject(new Error(`${command.join(' ')} ended with ${code}: ${complaints.trim()}`))
    })
  })
}

function peakOf(pid: number | undefined): number {
  try {
    const match = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
    return match === null ? 0 : Number(match[1]) * 1024
  } catch {
    return 0
  }
}

/** Seconds of processor time of a process so far. */
export function processorTime(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** The middle of `values`. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] as number
}

/** Medians of two commands run in turn, `before` preparing each run. */
export async function compare(
  ours: Command,
  theirs: Command,
  settings: { readonly runs: number; readonly before?: () => void; readonly okCodes?: readonly number[] },
): Promise<{ readonly ours: Run; readonly theirs: Run; readonly ratio: number }> {
  const ourRuns: Run[] = []
  const theirRuns: Run[] = []
  for (let i = 0; i < settings.runs; i++) {
    settings.before?.()
    ourRuns.push(await run(ours, settings.okCodes))
    settings.before?.()
    theirRuns.push(await run(theirs, settings.okCodes))
  }
  const summarise = (runs: readonly Run[]): Run => ({
    seconds: median(runs.map(({ seconds }) => seconds)),
    peakMemory: Math.max(...runs.map(({ peakMemory }) => peakMemory)),
  })
  const ratios = ourRuns.map(({ seconds }, i) => seconds / (theirRuns[i] as Run).seconds)
  return { ours: summarise(ourRuns), theirs: summarise(theirRuns), ratio: median(ratios) }
}
