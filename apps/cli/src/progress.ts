/** How far a long command has come, told in the way that its reader understands. */

import type { JobProgress } from '@diskgraph/jobs'
import { type Terminal, twoDecimals } from '@diskgraph/tools'

/** Receives how much of the whole is done. */
export interface Progress {
  /** `done` and `total` are in any unit; `total` may change. */
  update(done: number, total: number): void
  /** Ends the display. Call it whether the work succeeded or not; calling it twice does nothing. */
  end(): void
}

const silent: Progress = { update: () => undefined, end: () => undefined }

/**
 * The progress of one piece of work. `wanted` is `-p`: the drop-in tools then print QEMU's percentages on standard
 * output, at least `step` apart. The front end for people draws a bar on a terminal, or writes JSON lines with `--progress=json`.
 */
export function progressFor(terminal: Terminal, title: string, wanted: boolean, step = 1): Progress {
  if (terminal.progressStyle === 'json') return new JsonProgress(terminal, title)
  if (terminal.progressStyle === 'none') return silent
  if (!terminal.forPeople) return wanted ? new PercentProgress(terminal, step) : silent
  return terminal.interactive ? new BarProgress(terminal, title) : silent
}

/** QEMU's own: `    (12.34/100%)` on one line that is overwritten. Every word of the end is printed. */
class PercentProgress implements Progress {
  readonly #terminal: Terminal
  readonly #step: number
  #shown = 0
  #ended = false

  constructor(terminal: Terminal, step: number) {
    this.#terminal = terminal
    this.#step = step
    this.#print(0)
  }

  update(done: number, total: number): void {
    const percent = percentOf(done, total)
    if (percent - this.#shown < this.#step && percent < 100) return
    this.#shown = percent
    this.#print(percent)
  }

  end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#terminal.out('\n')
  }

  #print(percent: number): void {
    this.#terminal.out(`    (${twoDecimals(percent)}/100%)\r`)
  }
}

/** A bar with the speed of the last moments and the time that is left. */
class BarProgress implements Progress {
  readonly #terminal: Terminal
  readonly #title: string
  readonly #start = performance.now()
  #drawnAt = 0
  #drawn = false

  constructor(terminal: Terminal, title: string) {
    this.#terminal = terminal
    this.#title = title
  }

  update(done: number, total: number): void {
    const now = performance.now()
    if (now - this.#start < 300 || (now - this.#drawnAt < 100 && done < total)) return
    this.#drawnAt = now
    this.#drawn = true
    this.#terminal.err(`\r\x1b[K${this.#line(percentOf(done, total), now - this.#start)}`)
  }

  end(): void {
    if (this.#drawn) this.#terminal.err('\r\x1b[K')
    this.#drawn = false
  }

  #line(percent: number, elapsed: number): string {
    const left = percent > 0 ? ` ${duration(((100 - percent) / percent) * elapsed)} left` : ''
    const text = ` ${percent.toFixed(0).padStart(3)}%${left}`
    const room = Math.max(10, Math.min(40, this.#terminal.columns - this.#title.length - text.length - 4))
    const eighths = Math.round((percent / 100) * room * 8)
    const bar = '█'.repeat(Math.floor(eighths / 8)) + (eighths % 8 === 0 ? '' : '▏▎▍▌▋▊▉'[(eighths % 8) - 1])
    return `${this.#title} ▕${bar.padEnd(room)}▏${text}`
  }
}

/** One JSON object a line on standard error, at most ten a second. */
class JsonProgress implements Progress {
  readonly #terminal: Terminal
  readonly #title: string
  #last = Number.NEGATIVE_INFINITY
  #complete = false

  constructor(terminal: Terminal, title: string) {
    this.#terminal = terminal
    this.#title = title
  }

  update(done: number, total: number): void {
    const now = performance.now()
    if (this.#complete || (now - this.#last < 100 && done < total)) return
    this.#last = now
    this.#complete = done >= total
    const percent = Number(percentOf(done, total).toFixed(2))
    this.#terminal.err(`${JSON.stringify({ progress: this.#title, done, total, percent })}\n`)
  }

  /** How the command has ended is told by who runs it. */
  end(): void {}
}

function percentOf(done: number, total: number): number {
  return total <= 0 ? 100 : Math.min(100, (done / total) * 100)
}

function duration(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1000)
  if (seconds < 60) return `${seconds}s`
  return `${Math.floor(seconds / 60)}m${String(seconds % 60).padStart(2, '0')}s`
}

/** Hears a job for `progress`: what is new only, as QEMU tells it. */
export function fromJob(progress: Progress): (told: JobProgress) => void {
  let last = 0
  return ({ done, total }) => {
    if (done > last) progress.update(done, total)
    last = done
  }
}
