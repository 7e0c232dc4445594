/**
 * `--fork`: the server is a second process of this program, without the option, in a session of its own. The first one
 * passes its messages on until it says, on a descriptor of its own, that clients can connect; then it ends.
 */
import { spawn } from 'node:child_process'
import { closeSync, writeSync } from 'node:fs'
import type { Terminal } from '@diskgraph/tools'

/** Names the descriptor on which the server says that it is ready. */
const readyVariable = 'DISKGRAPH_NBD_READY'
const readyDescriptor = 3

/** Whether this process is the second one. */
export function isForked(): boolean {
  return process.env[readyVariable] !== undefined
}

/** Says to the first process that clients can connect. */
export function tellReady(): void {
  const fd = Number(process.env[readyVariable])
  writeSync(fd, '\n')
  closeSync(fd)
}

/** Starts the second process; resolves when clients can connect to it, or with its exit code if it ends before. */
export function forkServer(terminal: Terminal, verbose: boolean): Promise<number> {
  const [script = '', ...words] = process.argv.slice(1)
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [...process.execArgv, script, ...words], {
      detached: true,
      stdio: ['ignore', 'ignore', verbose ? 'inherit' : 'pipe', 'pipe'],
      env: { ...process.env, [readyVariable]: String(readyDescriptor) },
    })
    const interrupt = (): boolean => child.kill('SIGTERM')
    terminal.signal.addEventListener('abort', interrupt)
    child.stderr?.on('data', (text) => terminal.err(String(text)))
    child.stdio[readyDescriptor]?.on('data', () => {
      terminal.signal.removeEventListener('abort', interrupt)
      for (const stream of child.stdio) stream?.destroy()
      child.unref()
      resolve(0)
    })
    child.on('error', (error) => {
      terminal.err(`${terminal.program}: Failed to start the server process: ${error.message}\n`)
      resolve(1)
    })
    child.on('close', (code) => resolve(code ?? 1))
  })
}
