/** Replies of a server in words, for tests that compare them with what is expected. */
import { Socket } from 'node:net'
import { words } from './script-server.ts'

const optionNames: Readonly<Record<number, string>> = {
  2: 'abort',
  3: 'list',
  5: 'starttls',
  7: 'go',
  8: 'structured',
  10: 'set context',
}
const replyNames: Readonly<Record<number, string>> = {
  1: 'ack',
  2: 'server',
  3: 'info',
  4: 'context',
  2147483649: 'unsupported',
  2147483650: 'policy',
  2147483651: 'invalid',
  2147483654: 'unknown',
  2147483657: 'too big',
}

const farewell = words([4, 0x25609513], [2, 0], [2, 2], [8, 0x99], [8, 0], [4, 0])

/**
 * Sends `sent` behind the greeting, takes leave when there are `count` replies, and resolves with those that have come
 * until the connection ends.
 */
export function exchange(path: string, sent: Buffer, count: number): Promise<string[]> {
  // The greeting, and the answer to the option without errors: a size and flags.
  const byName = sent.length >= 16 && sent.readUInt32BE(12) === 1
  const skipped = byName ? 28 : 18
  return new Promise((resolve) => {
    const socket = new Socket()
    let bytes = Buffer.alloc(0)
    let isLeaving = false
    socket.on('data', (chunk) => {
      if (bytes.length === 0) socket.write(sent)
      bytes = Buffer.concat([bytes, chunk])
      if (isLeaving || count === 0 || replyWords(bytes.subarray(skipped)).length < count) return
      isLeaving = true
      socket.write(farewell)
    })
    // A server that cuts the connection off may still be written to.
    socket.on('error', () => {})
    socket.on('close', () => resolve(replyWords(bytes.subarray(skipped))))
    socket.connect({ path })
  })
}

function replyWords(bytes: Buffer): string[] {
  const told: string[] = []
  for (let at = 0; at + 16 <= bytes.length; ) {
    const magic = bytes.readUInt32BE(at)
    if (magic === 0x67446698) {
      told.push(`simple ${bytes.readUInt32BE(at + 4)}`)
      at += 16
    } else if (magic === 0x668e33ef) {
      const [flags, type, length] = [
        bytes.readUInt16BE(at + 4),
        bytes.readUInt16BE(at + 6),
        bytes.readUInt32BE(at + 16),
      ]
      const payload = bytes.subarray(at + 20, at + 20 + length)
      const isError = (type & 0x8000) !== 0
      const rest = isError ? ` ${payload.readUInt32BE(0)}: ${payload.subarray(6)}` : ` ${payload.toString('hex')}`
      told.push(
        `chunk ${type & 0x7fff}${isError ? ' error' : ''}${flags === 1 ? ' last' : ''}${length === 0 ? '' : rest}`,
      )
      at += 20 + length
    } else {
      const [number, type, length] = [
        bytes.readUInt32BE(at + 8),
        bytes.readUInt32BE(at + 12),
        bytes.readUInt32BE(at + 16),
      ]
      const data = bytes.subarray(at + 20, at + 20 + length)
      const name = optionNames[number] ?? `option ${number}`
      const text = (type & 0x80000000) !== 0 ? `: ${data}` : ''
      told.push(`${name}: ${replyNames[type] ?? type}${text}`)
      at += 20 + length
    }
  }
  return told
}
