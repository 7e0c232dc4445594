/** The client's side of the handshake: newstyle, fixed or not, and oldstyle where no TLS is wanted. */
import { BlockError, type ErrorCode, toBlockError } from '@diskgraph/core/driver'
import type { ByteDuplex } from '../stream/byte-duplex.ts'
import { ByteInput } from '../stream/byte-input.ts'
import { bytesText, MessageReader, MessageWriter, printable, u16, u32, u64 } from '../wire/bytes.ts'
import {
  ClientFlag,
  Handshake,
  Info,
  maximumPayload,
  NBD_CLISERV_MAGIC,
  NBD_INIT_PASSWD,
  NBD_MAX_STRING_SIZE,
  NBD_OPT_REPLY_MAGIC,
  NBD_OPTS_MAGIC,
  Option,
  OptionReply,
  optionName,
} from '../wire/protocol.ts'
import type { ExportInfo, HandshakeSettings, TlsClient } from './settings.ts'

/** Longest reply to an option; the longest that makes sense is a name and a description. */
const longestReply = 2 * NBD_MAX_STRING_SIZE + 64
/** Replies to one option. */
const mostReplies = 65536
const oldstylePadding = 124

/** A connection that is ready for requests. */
export interface Established {
  readonly stream: ByteDuplex
  readonly input: ByteInput
  readonly info: ExportInfo
}

/** A reply to an option. */
interface Reply {
  readonly type: number
  readonly data: Uint8Array
}

/** The error of a server that breaks the protocol. */
export function protocolError(message: string): BlockError {
  return new BlockError('EINVAL', message)
}

/** Negotiates on a stream step by step; whoever makes one destroys the stream when a step fails. */
export class Handshaker {
  stream: ByteDuplex
  input: ByteInput
  #fixed = false
  #noZeroes = false
  structured = false
  /** What a server of the oldstyle has told already. */
  #oldstyle: { readonly size: number; readonly flags: number } | undefined

  constructor(stream: ByteDuplex) {
    this.stream = stream
    this.input = new ByteInput(stream)
  }

  /** Greets, and makes the connection secure where that is wanted. */
  async begin(tls: TlsClient | undefined): Promise<void> {
    const greeting = await this.#read(16, 'initial magic')
    if (bytesText(greeting.subarray(0, 8)) !== NBD_INIT_PASSWD) {
      throw protocolError(`Bad initial magic received: ${hex(greeting.subarray(0, 8))}`)
    }
    if (bytesText(greeting.subarray(8)) === NBD_OPTS_MAGIC) await this.#newstyle()
    else await this.#beginOldstyle(greeting)
    if (tls === undefined) return
    if (!this.#fixed) throw protocolError('Server does not support STARTTLS')
    await this.#startTls(tls)
  }

  /** Whether the server takes options. */
  get takesOptions(): boolean {
    return this.#fixed
  }

  /** Asks for structured replies. */
  async askForStructured(): Promise<void> {
    const [reply] = await this.ask(Option.NBD_OPT_STRUCTURED_REPLY)
    this.structured = reply?.type === OptionReply.NBD_REP_ACK
  }

  /** Selects or lists contexts of an export. */
  async contexts(option: number, name: string, queries: readonly string[]): Promise<Map<number, string>> {
    const message = new MessageWriter().string(name).u32(queries.length)
    for (const query of queries) message.string(query)
    const found = new Map<number, string>()
    for (const { type, data } of await this.ask(option, message.end())) {
      if (type !== OptionReply.NBD_REP_META_CONTEXT) continue
      if (data.length < 5) throw protocolError('Failed to read context: the reply is too short')
      const id = option === Option.NBD_OPT_SET_META_CONTEXT ? u32(data, 0) : found.size
      const context = bytesText(data.subarray(4))
      const asked = queries.length === 0 || option !== Option.NBD_OPT_SET_META_CONTEXT || queries.includes(context)
      if (!asked) throw protocolError(`Server replied with wrong meta context: '${printable(context)}'`)
      found.set(id, context)
    }
    return found
  }

  /** What the server tells of an export; with `NBD_OPT_GO` requests may follow. */
  async info(option: number, name: string): Promise<Omit<ExportInfo, 'contexts' | 'structured'> | 'unsupported'> {
    const message = new MessageWriter().string(name).u16(option === Option.NBD_OPT_INFO ? 3 : 1)
    message.u16(Info.NBD_INFO_BLOCK_SIZE)
    if (option === Option.NBD_OPT_INFO) message.u16(Info.NBD_INFO_NAME).u16(Info.NBD_INFO_DESCRIPTION)
    const replies = await this.ask(option, message.end())
    const last = replies[replies.length - 1] as Reply
    if (last.type === OptionReply.NBD_REP_ERR_UNSUP) return 'unsupported'
    if (last.type !== OptionReply.NBD_REP_ACK) throw refusal(option, last)
    return readInfo(name, replies)
  }

  /** Goes over to requests with an option that tells no errors. */
  async exportName(name: string): Promise<Omit<ExportInfo, 'contexts' | 'structured'>> {
    const rest = { name, minimumBlock: 1, preferredBlock: 4096, maximumPayload }
    if (this.#oldstyle !== undefined) {
      if (name !== '') throw protocolError('Server does not support non-empty export names')
      return { ...rest, ...this.#oldstyle }
    }
    this.#send(Option.NBD_OPT_EXPORT_NAME, new MessageWriter().text(name).end())
    const reply = await this.#read(10, 'export length')
    if (!this.#noZeroes) await this.#read(oldstylePadding, 'reserved block')
    return { ...rest, size: checkedSize(u64(reply, 0)), flags: u16(reply, 8) }
  }

  /** Leaves without waiting for an answer. */
  leave(): void {
    if (this.#fixed) this.#send(Option.NBD_OPT_ABORT, new Uint8Array(0))
    this.stream.end()
  }

  /** Sends an option; its replies, of which the last one is final. */
  async ask(option: number, data: Uint8Array = new Uint8Array(0)): Promise<Reply[]> {
    this.#send(option, data)
    const replies: Reply[] = []
    for (;;) {
      const reply = await this.#reply(option)
      replies.push(reply)
      if (reply.type === OptionReply.NBD_REP_ACK || (reply.type & 0x80000000) !== 0) return replies
      if (replies.length > mostReplies) throw protocolError(`the server sends no end of replies to ${label(option)}`)
    }
  }

  /** Throws when a reply says that TLS has to come first. */
  refuseUnsecured(option: number, reply: Reply | undefined): void {
    if (reply?.type === OptionReply.NBD_REP_ERR_TLS_REQD) throw refusal(option, reply)
  }

  async #read(length: number, what: string): Promise<Uint8Array> {
    try {
      return await this.input.read(length)
    } catch (cause) {
      const { code, message } = toBlockError(cause)
      throw new BlockError(code, `Failed to read ${what}: ${message}`, { cause })
    }
  }

  async #newstyle(): Promise<void> {
    const flags = u16(await this.#read(2, 'server flags'), 0)
    this.#fixed = (flags & Handshake.NBD_FLAG_FIXED_NEWSTYLE) !== 0
    this.#noZeroes = (flags & Handshake.NBD_FLAG_NO_ZEROES) !== 0
    const own =
      (this.#fixed ? ClientFlag.NBD_FLAG_C_FIXED_NEWSTYLE : 0) | (this.#noZeroes ? ClientFlag.NBD_FLAG_C_NO_ZEROES : 0)
    this.stream.write(new MessageWriter().u32(own).end())
  }

  async #beginOldstyle(greeting: Uint8Array): Promise<void> {
    const magic = (BigInt(u32(greeting, 8)) << 32n) | BigInt(u32(greeting, 12))
    if (magic !== NBD_CLISERV_MAGIC) throw protocolError(`Bad server magic received: ${hex(greeting.subarray(8))}`)
    const rest = await this.#read(12, 'export length')
    await this.#read(oldstylePadding, 'reserved block')
    const flags = u32(rest, 8)
    if (flags > 0xffff) throw protocolError(`Unexpected export flags 0x${flags.toString(16)}`)
    this.#oldstyle = { size: checkedSize(u64(rest, 0)), flags }
  }

  async #startTls(tls: TlsClient): Promise<void> {
    const replies = await this.ask(Option.NBD_OPT_STARTTLS)
    const last = replies[replies.length - 1] as Reply
    if (last.type !== OptionReply.NBD_REP_ACK) throw refusal(Option.NBD_OPT_STARTTLS, last)
    if (this.input.buffered > 0) throw protocolError('the server sent data between STARTTLS and the TLS handshake')
    this.input.detach()
    this.stream = await tls.secure(this.stream)
    this.input = new ByteInput(this.stream)
  }

  #send(option: number, data: Uint8Array): void {
    this.stream.write(new MessageWriter().text(NBD_OPTS_MAGIC).u32(option).u32(data.length).bytes(data).end())
  }

  async #reply(option: number): Promise<Reply> {
    const header = await this.#read(20, 'option reply')
    const magic = (BigInt(u32(header, 0)) << 32n) | BigInt(u32(header, 4))
    if (magic !== NBD_OPT_REPLY_MAGIC) throw protocolError('Unexpected option reply magic')
    if (u32(header, 8) !== option) {
      throw protocolError(`Unexpected option type ${label(u32(header, 8))}, expected ${label(option)}`)
    }
    const length = u32(header, 16)
    const type = u32(header, 12)
    if (length <= longestReply) return { type, data: await this.#read(length, 'option reply') }
    if (length > maximumPayload || (type & 0x80000000) === 0) {
      throw protocolError(`the reply to option ${label(option)} is too long: ${length} bytes`)
    }
    await this.input.skip(length)
    return { type, data: new Uint8Array(0) }
  }
}

/** Negotiates for an export. The stream is destroyed when that fails. */
export async function handshake(stream: ByteDuplex, settings: HandshakeSettings): Promise<Established> {
  const { exportName = '', contexts = ['base:allocation'], tls } = settings
  const shaker = new Handshaker(stream)
  try {
    await shaker.begin(tls)
    let selected: ReadonlyMap<number, string> = new Map()
    if (shaker.takesOptions) {
      await shaker.askForStructured()
      if (shaker.structured && contexts.length > 0) {
        selected = await shaker.contexts(Option.NBD_OPT_SET_META_CONTEXT, exportName, contexts)
      }
      const info = await shaker.info(Option.NBD_OPT_GO, exportName)
      if (info !== 'unsupported')
        return established(shaker, { ...info, structured: shaker.structured, contexts: selected })
    }
    const info = await shaker.exportName(exportName)
    return established(shaker, { ...info, structured: shaker.structured, contexts: selected })
  } catch (error) {
    shaker.stream.destroy()
    stream.destroy()
    throw error
  }
}

function established({ stream, input }: Handshaker, info: ExportInfo): Established {
  return { stream, input, info }
}

type BlockSizes = Pick<ExportInfo, 'minimumBlock' | 'preferredBlock' | 'maximumPayload' | 'statedMaximum'>

function readInfo(name: string, replies: readonly Reply[]): Omit<ExportInfo, 'contexts' | 'structured'> {
  let found: { size: number; flags: number } | undefined
  let sizes: BlockSizes = { minimumBlock: 1, preferredBlock: 4096, maximumPayload }
  let description: string | undefined
  let canonical = name
  for (const { type, data } of replies) {
    if (type !== OptionReply.NBD_REP_INFO) continue
    const message = new MessageReader(data)
    switch (message.u16()) {
      case Info.NBD_INFO_EXPORT:
        if (data.length !== 12) throw protocolError('Remaining export list len has wrong size')
        found = { size: checkedSize(u64(data, 2)), flags: u16(data, 10) }
        break
      case Info.NBD_INFO_BLOCK_SIZE:
        sizes = readSizes(data)
        break
      case Info.NBD_INFO_NAME:
        canonical = bytesText(message.rest())
        break
      case Info.NBD_INFO_DESCRIPTION:
        description = bytesText(message.rest())
        break
    }
  }
  if (found === undefined) throw protocolError('broken server omitted NBD_INFO_EXPORT')
  return { name: canonical, ...found, ...sizes, ...(description === undefined ? {} : { description }) }
}

function readSizes(data: Uint8Array): BlockSizes {
  if (data.length !== 14) throw protocolError('broken server sent block sizes of a wrong length')
  const [minimumBlock, preferredBlock, most] = [u32(data, 2), u32(data, 6), u32(data, 10)]
  if (minimumBlock === 0 || minimumBlock > 65536 || (minimumBlock & (minimumBlock - 1)) !== 0) {
    throw protocolError(`server minimum block size ${minimumBlock} is not a power of two up to 64 KiB`)
  }
  if (preferredBlock === 0 || (preferredBlock & (preferredBlock - 1)) !== 0 || preferredBlock < minimumBlock) {
    throw protocolError(`server preferred block size ${preferredBlock} is not valid`)
  }
  if (most < minimumBlock) throw protocolError(`server maximum block size ${most} is not valid`)
  const whole = Math.floor(Math.min(most, maximumPayload) / minimumBlock) * minimumBlock
  return { minimumBlock, preferredBlock, maximumPayload: whole, statedMaximum: most }
}

function checkedSize(size: number): number {
  if (Number.isSafeInteger(size)) return size
  throw new BlockError('EFBIG', `the export is too large: ${size} bytes`)
}

/** What the errors among the replies mean. */
const refusals: Readonly<Record<number, readonly [code: ErrorCode, text: (option: string) => string]>> = {
  [OptionReply.NBD_REP_ERR_UNSUP]: ['ENOTSUP', (option) => `Unsupported option type ${option}`],
  [OptionReply.NBD_REP_ERR_POLICY]: ['EPERM', (option) => `Denied by server for option ${option}`],
  [OptionReply.NBD_REP_ERR_INVALID]: ['EINVAL', (option) => `Invalid parameters for option ${option}`],
  [OptionReply.NBD_REP_ERR_PLATFORM]: ['ENOTSUP', (option) => `Server lacks support for option ${option}`],
  [OptionReply.NBD_REP_ERR_TLS_REQD]: ['EACCES', (option) => `TLS negotiation required before option ${option}`],
  [OptionReply.NBD_REP_ERR_UNKNOWN]: ['ENOENT', () => 'Requested export not available'],
  [OptionReply.NBD_REP_ERR_SHUTDOWN]: ['ENODEV', (option) => `Server shutting down before option ${option}`],
  [OptionReply.NBD_REP_ERR_BLOCK_SIZE_REQD]: [
    'EINVAL',
    (option) => `Server requires INFO_BLOCK_SIZE for option ${option}`,
  ],
}

/** The error of an option that was refused, with what the server said as a hint. */
function refusal(option: number, { type, data }: Reply): BlockError {
  const known = refusals[type]
  const said = bytesText(data.subarray(0, NBD_MAX_STRING_SIZE)).replace(/\p{Cc}/gu, '?')
  const tls = type === OptionReply.NBD_REP_ERR_TLS_REQD ? 'Did you forget a valid tls-creds?\n' : ''
  const hint = tls + (said === '' ? '' : `server reported: ${said}`)
  if (known === undefined) {
    const text = `Unknown error code 0x${type.toString(16)} when asking for option ${label(option)}`
    return new BlockError('EINVAL', text, { hint })
  }
  const [code, text] = known
  return new BlockError(code, text(label(option)), hint === '' ? {} : { hint })
}

function label(option: number): string {
  return `${option} (${optionName(option)})`
}

function hex(bytes: Uint8Array): string {
  return `0x${[...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`
}
