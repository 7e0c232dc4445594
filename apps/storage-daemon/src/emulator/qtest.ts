/** `-qtest`: a test's line to the machine. There is none, but its clock can be stepped forward; other lines move nothing. */
import { connectTo } from '@diskgraph/qmp'
import { StartError } from '../failure.ts'
import type { MachineClock } from './machine-clock.ts'

/** Connects to `address` (`unix:PATH`) and answers each line; the result ends that. `log` hears of both, as in QEMU. */
export async function answerQtest(
  address: string,
  clock: MachineClock,
  log: (line: string) => void,
): Promise<() => void> {
  const path = /^unix:(?:path=)?([^,]+)/.exec(address)?.[1]
  if (path === undefined) throw new StartError(`'${address}' is no unix socket`)
  const socket = await connectTo({ path })
  const begin = clock.now()
  log(`[I ${(begin / 1000).toFixed(6)}] OPENED`)
  let rest = ''
  socket.setEncoding('utf8')
  socket.on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = (lines.pop() ?? '').slice(-4096)
    for (const line of lines) socket.write(`${answer(line, clock)}\n`)
  })
  socket.on('error', () => undefined)
  socket.resume()
  return () => {
    socket.destroy()
    log(`[I +${((clock.now() - begin) / 1000).toFixed(6)}] CLOSED`)
  }
}

/** `clock_step` and `clock_set` tell the time then. Nanoseconds are on the line, milliseconds in the clock. */
function answer(line: string, clock: MachineClock): string {
  const [, word, digits] = /^(clock_step|clock_set)(?: (\d+))?\s*$/.exec(line) ?? []
  if (word === undefined) return 'OK'
  const ms = digits === undefined ? undefined : Number(digits) / 1e6
  clock.step(word === 'clock_step' || ms === undefined ? ms : Math.max(0, ms - clock.now()))
  return `OK ${BigInt(Math.floor(clock.now() * 1e6))}`
}
