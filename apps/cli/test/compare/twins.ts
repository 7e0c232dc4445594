/** Runs the same words with QEMU's tool and with ours, each in a folder of its own, and makes both results comparable. */

import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { showFailure, type Terminal } from '@diskgraph/tools'
import { capturedTerminal } from '../captured-terminal.ts'

/** What a program left behind. */
export interface Result {
  readonly stdout: string
  readonly stderr: string
  readonly code: number
}

/** Whether QEMU's tools are here. */
export const hasQemu = existsSync('/usr/bin/qemu-img') && existsSync('/usr/bin/qemu-io')

/** Makes two folders with the same content. */
export class Twins {
  readonly theirs = mkdtempSync(join(tmpdir(), 'diskgraph-theirs-'))
  readonly ours = mkdtempSync(join(tmpdir(), 'diskgraph-ours-'))

  readonly #templates = new Map<string, string>()

  /** Empties both folders and fills them with what a shell script makes. It runs once; copies are taken after that. */
  prepare(script: string): void {
    let template = this.#templates.get(script)
    if (template === undefined) {
      template = mkdtempSync(join(tmpdir(), 'diskgraph-template-'))
      this.#templates.set(script, template)
      shell(script, template)
    }
    for (const folder of [this.theirs, this.ours]) {
      for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true })
    }
    shell(`cp --sparse=always -a . '${this.theirs}'; cp --sparse=always -a . '${this.ours}'`, template)
  }

  /** Runs QEMU's `tool`. */
  runTheirs(tool: string, words: readonly string[], input = ''): Result {
    const done = spawnSync(tool, [...words], { cwd: this.theirs, encoding: 'latin1', input, timeout: 30_000 })
    return this.#plain({ stdout: done.stdout, stderr: done.stderr, code: done.status ?? -1 })
  }

  /** Runs our program under the name `tool`. */
  async runOurs(
    tool: string,
    program: (words: readonly string[], terminal: Terminal) => Promise<number>,
    words: readonly string[],
  ): Promise<Result> {
    const terminal = capturedTerminal(tool)
    const before = process.cwd()
    process.chdir(this.ours)
    let code: number
    try {
      code = await program(words, terminal)
    } catch (error) {
      code = showFailure(terminal, error)
    } finally {
      process.chdir(before)
    }
    return this.#plain({ stdout: terminal.stdout, stderr: terminal.stderr, code })
  }

  remove(): void {
    rmSync(this.theirs, { recursive: true })
    rmSync(this.ours, { recursive: true })
    for (const template of this.#templates.values()) rmSync(template, { recursive: true })
  }

  #plain({ stdout, stderr, code }: Result): Result {
    const plain = (text: string): string =>
      withoutTimes(
        text
          .replaceAll(this.theirs, 'FOLDER')
          .replaceAll(this.ours, 'FOLDER')
          .replace(/#block\d+/g, '#block'),
      )
    return { stdout: plain(stdout), stderr: plain(stderr), code }
  }
}

function shell(script: string, cwd: string): void {
  const { status, stderr } = spawnSync('sh', ['-ec', script], { cwd, encoding: 'utf8', timeout: 30_000 })
  if (status !== 0) throw new Error(`cannot prepare: ${stderr}`)
}

/** Text without what differs from run to run. */
export function withoutTimes(text: string): string {
  return text
    .replace(/1 ops; [0-9:.]+( sec)? \([^)]*\)/g, 'TIME')
    .replace(/^(\d+,1),[0-9:.]+,[0-9.]+,[0-9.]+$/gm, '$1,TIME')
    .replace(/Run completed in [0-9.]+ seconds\./g, 'Run completed in TIME seconds.')
}
