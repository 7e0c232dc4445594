/**
 * The mutation test: thousands of damaged images, each used as a user would, in child processes.
 *
 * A child runs some hundred cases and announces each. A verb that takes more than two seconds of the processor is a
 * hang. The parent ends a child that is silent for too long (a loop that never yields, a promise that never settles),
 * and starts another behind that case. Memory is the growth of the child's peak over what it had
 * after its first cases.
 */
import { type ChildProcess, fork } from 'node:child_process'
import type { PagedFile } from '../paged-file.ts'
import { storeFile, TempFolder } from '../tools.node.ts'
import type { MutationMessage, MutationOrder } from './child.node.ts'

/** What {@link mutationTest} does. */
export interface MutationTestSettings {
  /** The module that calls `serveMutations`. */
  readonly child: URL
  /** What the child finds in `process.argv` from the third place on. */
  readonly childArguments?: readonly string[]
  /** Arguments for node, before the module. Default: those of this process. */
  readonly execArgv?: readonly string[]
  /** Intact images. */
  readonly images: readonly PagedFile[]
  readonly seed: number
  readonly cases: number
  /** Number of the first case. Default 0. */
  readonly from?: number
  /** Cases per child. Default 500. */
  readonly casesPerChild?: number
  /** Children at once. Default 2. */
  readonly children?: number
  /** Milliseconds after which a child without a sign of life is ended. Default 30000. */
  readonly silence?: number
  readonly onProgress?: (done: number) => void
}

/** A case that went wrong. */
export interface MutationFinding {
  readonly kind: 'uncaught' | 'hang' | 'crash'
  readonly index: number
  /** The mutation, in words. */
  readonly what: string
  readonly text: string
}

/** The figures of a mutation test. */
export interface MutationReport {
  cases: number
  uncaught: number
  hangs: number
  crashes: number
  /** Most bytes that a child grew by. */
  memoryGrowth: number
  /** The case that made it grow last. */
  memoryCase: number
  readonly findings: MutationFinding[]
}

/** Milliseconds in which a child begins, on a machine that has much else to do. */
const timeToStart = 120_000

/** Findings after which the rest is left out. */
const enough = 50

/** Runs a mutation test; see the top of the file. */
export async function mutationTest(settings: MutationTestSettings): Promise<MutationReport> {
  const report: MutationReport = {
    cases: 0,
    uncaught: 0,
    hangs: 0,
    crashes: 0,
    memoryGrowth: 0,
    memoryCase: -1,
    findings: [],
  }
  await using folder = await TempFolder.make()
  const images = settings.images.map((image, i) => {
    const path = folder.file(`image-${i}`)
    storeFile(path, image)
    return path
  })
  const { from: first = 0, casesPerChild = 500, children = 2 } = settings
  const end = first + settings.cases
  let next = first
  const work = async (): Promise<void> => {
    while (next < end && report.findings.length < enough) {
      const from = next
      next = Math.min(end, from + casesPerChild)
      await runOrder(settings, { seed: settings.seed, images, from, to: next }, report)
      settings.onProgress?.(report.cases)
    }
  }
  await Promise.all(Array.from({ length: children }, work))
  return report
}

/** Runs the cases of an order, with as many children as it takes. */
async function runOrder(settings: MutationTestSettings, order: MutationOrder, report: MutationReport): Promise<void> {
  let from = order.from
  while (from < order.to) {
    const last = await runChild(settings, { ...order, from }, report)
    report.cases += last + 1 - from
    from = last + 1
  }
}

/** Runs one child and returns the number of the last case that it began. */
function runChild(settings: MutationTestSettings, order: MutationOrder, report: MutationReport): Promise<number> {
  const execArgv = ['--max-old-space-size=512', ...(settings.execArgv ?? process.execArgv)]
  const child = fork(settings.child, settings.childArguments ?? [], {
    execArgv,
    stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
  })
  const watch = new ChildWatch(child, order.from, report, settings.silence ?? 30_000)
  child.send(order)
  return watch.ended
}

class ChildWatch {
  readonly ended: Promise<number>
  readonly #child: ChildProcess
  readonly #report: MutationReport
  #index: number
  #what = 'start'
  #begun = false
  #stderr = ''
  #timer: NodeJS.Timeout | undefined
  readonly #silence: number
  #hung = false
  #faulted = -1

  constructor(child: ChildProcess, from: number, report: MutationReport, silence: number) {
    this.#silence = silence
    this.#child = child
    this.#report = report
    this.#index = from
    this.ended = new Promise((resolve, reject) => {
      child.on('close', (code, signal) => {
        clearTimeout(this.#timer)
        this.#close(code, signal)
        if (this.#begun) resolve(this.#index)
        else reject(new Error(`the child of the mutation test does not start: ${this.#stderr}`))
      })
    })
    child.on('message', (message: MutationMessage) => this.#hear(message))
    child.stderr?.on('data', (text: Buffer) => {
      this.#stderr = (this.#stderr + text.toString()).slice(-2000)
    })
    this.#wind(timeToStart)
  }

  #hear(message: MutationMessage): void {
    const report = this.#report
    this.#wind(this.#silence)
    switch (message.kind) {
      case 'case':
        this.#begun = true
        this.#index = message.index
        this.#what = message.what
        return
      case 'fault':
        this.#faulted = message.index
        report.uncaught++
        report.findings.push({ kind: 'uncaught', index: message.index, what: message.what, text: message.text })
        return
      case 'slow': {
        const text = `${message.verb} takes ${Math.round(message.milliseconds)} ms`
        report.hangs++
        report.findings.push({ kind: 'hang', index: message.index, what: message.what, text })
        return
      }
      case 'memory':
        if (message.growth <= report.memoryGrowth) return
        report.memoryGrowth = message.growth
        report.memoryCase = message.index
    }
  }

  #wind(milliseconds: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#hung = true
      this.#child.kill('SIGKILL')
    }, milliseconds)
  }

  #close(code: number | null, signal: string | null): void {
    if (code === 0 || !this.#begun) return
    const finding = { index: this.#index, what: this.#what }
    if (this.#hung) {
      this.#report.hangs++
      this.#report.findings.push({ ...finding, kind: 'hang', text: 'gives no sign of life' })
    } else if (this.#faulted !== this.#index) {
      this.#report.crashes++
      this.#report.findings.push({ ...finding, kind: 'crash', text: `ends with ${code ?? signal}: ${this.#stderr}` })
    }
  }
}
