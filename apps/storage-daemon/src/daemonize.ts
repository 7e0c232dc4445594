/** Into the background: the daemon is a child of its own session, and this process ends when it is ready. */
import { spawn } from 'node:child_process'

/** Starts the daemon with `words`; resolves with the exit code of this process: 0 when it runs, 1 when it could not start. */
export function daemonize(words: readonly string[]): Promise<number> {
  const passed = descriptorsOf(words)
  const highest = Math.max(2, ...passed)
  const stdio: (number | 'ignore' | 'ipc')[] = ['ignore', 'ignore', 2]
  for (let fd = 3; fd <= highest; fd++) stdio.push(passed.has(fd) ? fd : 'ignore')
  stdio.push('ipc')
  const own = words.filter((word) => word !== '--daemonize')
  const child = spawn(process.execPath, [process.argv[1] as string, ...own], { detached: true, stdio })
  return new Promise((resolve) => {
    child.once('message', () => {
      child.disconnect()
      child.unref()
      resolve(0)
    })
    child.once('exit', (code) => resolve(code ?? 1))
  })
}

/** The descriptors that the command line names, which the daemon inherits. */
function descriptorsOf(words: readonly string[]): Set<number> {
  const found = words.join(',').matchAll(/\b(?:fd|addr\.str)=(\d+)/g)
  return new Set([...found].map(([, fd]) => Number(fd)).filter((fd) => fd > 2 && fd < 1024))
}
