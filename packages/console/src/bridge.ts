/** Between a WebSocket and a QMP monitor: a message is a line. */
import type { Duplex } from 'node:stream'
import type { WebSocket } from 'ws'

/** Bytes that wait for a page which does not read; the monitor is not read meanwhile. */
const maxBuffered = 2 ** 22
/** Commands that a page may send before there is a monitor. */
const maxWaiting = 64
/** Longest answer of a monitor, in bytes. */
const maxLine = 2 ** 26

/** Connects the two, and ends both when one of them ends. */
export async function bridge(page: WebSocket, connect: () => Duplex | Promise<Duplex>): Promise<void> {
  let monitor: Duplex | undefined
  const waiting: string[] = []
  const end = (): void => {
    monitor?.destroy()
    page.terminate()
  }
  page.on('error', end)
  page.on('close', end)
  page.on('message', (data, isBinary) => {
    if (isBinary) return page.close(1003, 'commands are text')
    const line = data.toString()
    if (monitor === undefined) {
      if (waiting.push(line) > maxWaiting) end()
    } else if (!monitor.write(`${line}\n`)) pauseUntilDrained(page, monitor)
  })
  try {
    monitor = await connect()
  } catch (error) {
    return page.close(1013, error instanceof Error ? error.message.slice(0, 100) : 'there is no monitor')
  }
  if (page.readyState !== page.OPEN) return end()
  monitor.on('error', end)
  monitor.on('close', end)
  pipeLines(monitor, page, end)
  for (const line of waiting) monitor.write(`${line}\n`)
}

function pauseUntilDrained(page: WebSocket, monitor: Duplex): void {
  page.pause()
  monitor.once('drain', () => page.resume())
}

/** Sends each line of the monitor as a message. */
function pipeLines(monitor: Duplex, page: WebSocket, end: () => void): void {
  const parts: Buffer[] = []
  let length = 0
  const sent = (): void => {
    if (page.bufferedAmount < maxBuffered) monitor.resume()
  }
  monitor.on('data', (chunk: Buffer) => {
    let from = 0
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
      parts.push(chunk.subarray(from, at))
      page.send(Buffer.concat(parts).toString(), sent)
      parts.length = 0
      length = 0
      from = at + 1
    }
    if (from < chunk.length) parts.push(chunk.subarray(from))
    length += chunk.length - from
    if (length > maxLine) end()
    else if (page.bufferedAmount >= maxBuffered) monitor.pause()
  })
}
