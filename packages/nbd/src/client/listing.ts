/** What a server offers, without using it. */
import { systemClock } from '@diskgraph/core/driver'
import { amount, checkSettings, due } from '@diskgraph/core/internal'
import { tls as oneSide } from '../arguments.ts'
import type { ByteDuplex } from '../stream/byte-duplex.ts'
import { bytesText, u32 } from '../wire/bytes.ts'
import { Option, OptionReply } from '../wire/protocol.ts'
import { inTime, whileAlive } from './attempts.ts'
import { Handshaker, protocolError } from './handshake.ts'
import type { ExportInfo, ListSettings, TlsClient } from './settings.ts'

/** An export as a server lists it. */
export type ListedExport = Omit<ExportInfo, 'contexts'> & { readonly contexts: readonly string[] }

const rules = {
  tls: oneSide,
  handshakeTimeout: amount('milliseconds', 1),
  clock: due.clock,
  signal: due.signal,
}

/** Lists the exports of a server on `stream`, which is closed then. ETIMEDOUT when that is not done in time. */
export async function listExports(stream: ByteDuplex, settings: ListSettings = {}): Promise<ListedExport[]> {
  checkSettings('listExports', rules, settings)
  const { tls, handshakeTimeout, signal, clock = systemClock } = settings
  return inTime(clock, handshakeTimeout, signal, (limit) => whileAlive(limit, stream, () => list(stream, tls)))
}

async function list(stream: ByteDuplex, tls: TlsClient | undefined): Promise<ListedExport[]> {
  const shaker = new Handshaker(stream)
  try {
    await shaker.begin(tls)
    if (!shaker.takesOptions) {
      const info = await shaker.exportName('')
      return [{ ...info, structured: false, contexts: [] }]
    }
    await shaker.askForStructured()
    const listed: ListedExport[] = []
    for (const { name, description } of await names(shaker)) {
      const info = await shaker.info(Option.NBD_OPT_INFO, name)
      if (info === 'unsupported') {
        const unknown = { size: 0, flags: 0, minimumBlock: 1, preferredBlock: 4096, maximumPayload: 0 }
        listed.push({ name, description, ...unknown, structured: shaker.structured, contexts: [] })
        continue
      }
      const contexts = shaker.structured ? await shaker.contexts(Option.NBD_OPT_LIST_META_CONTEXT, name, []) : new Map()
      listed.push({ description, ...info, name, structured: shaker.structured, contexts: [...contexts.values()] })
    }
    shaker.leave()
    return listed
  } catch (error) {
    shaker.stream.destroy()
    stream.destroy()
    throw error
  }
}

async function names(shaker: Handshaker): Promise<{ readonly name: string; readonly description: string }[]> {
  const replies = await shaker.ask(Option.NBD_OPT_LIST)
  const last = replies[replies.length - 1]
  shaker.refuseUnsecured(Option.NBD_OPT_LIST, last)
  return replies
    .filter(({ type }) => type === OptionReply.NBD_REP_SERVER)
    .map(({ data }) => {
      const length = data.length < 4 ? 0 : u32(data, 0)
      if (data.length < 4 || length > data.length - 4) throw protocolError('incorrect option length')
      return { name: bytesText(data.subarray(4, 4 + length)), description: bytesText(data.subarray(4 + length)) }
    })
}
