/** `-qtest`: a test's line to the machine. It is answered, and moves nothing: there is no machine. */
import { connectTo } from '@diskgraph/qmp'
import { StartError } from '../failure.ts'

/** Connects to `address` (`unix:PATH`) and answers each line; the result ends that. */
export async function answerQtest(address: string): Promise<() => void> {
  const path = /^unix:(?:path=)?([^,]+)/.exec(address)?.[1]
  if (path === undefined) throw new StartError(`'${address}' is no unix socket`)
  const socket = await connectTo({ path })
  let rest = ''
  socket.setEncoding('utf8')
  socket.on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = (lines.pop() ?? '').slice(-4096)
    for (const line of lines) socket.write(line.startsWith('clock_') ? 'OK 0\n' : 'OK\n')
  })
  socket.on('error', () => undefined)
  return () => socket.destroy()
}
