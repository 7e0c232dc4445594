/**
 * The server's side of the fixed newstyle handshake, option by option, until the client has chosen an export or has left.
 *
 * With TLS configured nothing but STARTTLS and ABORT is answered before TLS stands, options are short until then, and
 * what was agreed on before is forgotten. An export is looked up when it is asked for, and used from GO on only.
 */
import { BlockError, toBlockError } from '@diskgraph/core/driver'
import type { ByteDuplex } from '../stream/byte-duplex.ts'
import { ByteInput } from '../stream/byte-input.ts'
import { bytesText, MessageReader, MessageWriter, printable, u32 } from '../wire/bytes.ts'
import {
  ClientFlag,
  Handshake,
  Info,
  maximumPayload,
  NBD_INIT_PASSWD,
  NBD_MAX_STRING_SIZE,
  NBD_OPT_REPLY_MAGIC,
  NBD_OPTS_MAGIC,
  Option,
  OptionReply,
  optionName,
} from '../wire/protocol.ts'
import type { NbdExport } from './export.ts'
import type { ExportTable } from './export-table.ts'
import { listedContexts, type MetaContext } from './meta-contexts.ts'

/** Longest option before TLS stands, where it has to. */
const maximumPlainOption = 65536
/** Longest option whose data is looked at; each client may make the server hold this much. */
const maximumKeptOption = 2 ** 20

/** Makes the server's side of TLS on a connection. */
export interface TlsServer {
  /** The encrypted stream. Rejects when the handshake fails or the client is not authorized. */
  secure(stream: ByteDuplex): Promise<ByteDuplex>
}

/** What both sides have agreed on. */
export interface Agreement {
  readonly target: NbdExport
  readonly structured: boolean
  /** Contexts that the client has selected, for this export. */
  readonly contexts: readonly MetaContext[]
  /** Carries the connection from now on. */
  readonly stream: ByteDuplex
  readonly input: ByteInput
}

/** What a negotiation needs of its server. */
interface NegotiationSettings {
  readonly exports: ExportTable
  readonly tls: TlsServer | undefined
  readonly multiConn: boolean
  /** Hears of the stream that carries the connection, when TLS replaces it. */
  readonly onStream: (stream: ByteDuplex) => void
}

/** The error of a client that breaks off, or is cut off. */
function violation(message: string): BlockError {
  return new BlockError('EINVAL', message)
}

/** See the top of the file. */
export class Negotiation {
  readonly #settings: NegotiationSettings
  #stream: ByteDuplex
  #input: ByteInput
  #noZeroes = false
  #fixed = false
  #secured = false
  #structured = false
  #selected: { readonly target: NbdExport; readonly contexts: readonly MetaContext[] } | undefined

  constructor(stream: ByteDuplex, settings: NegotiationSettings) {
    this.#settings = settings
    this.#stream = stream
    this.#input = new ByteInput(stream)
  }

  /** Undefined when the client has left in order. Rejects when it is to be cut off. */
  async run(): Promise<Agreement | undefined> {
    this.#stream.write(
      new MessageWriter()
        .text(NBD_INIT_PASSWD)
        .text(NBD_OPTS_MAGIC)
        .u16(Handshake.NBD_FLAG_FIXED_NEWSTYLE | Handshake.NBD_FLAG_NO_ZEROES)
        .end(),
    )
    await this.#takeFlags()
    for (;;) {
      const header = await this.#input.read(16)
      if (bytesText(header.subarray(0, 8)) !== NBD_OPTS_MAGIC) throw violation('Bad magic received')
      const option = u32(header, 8)
      const length = u32(header, 12)
      if (!this.#fixed && option !== Option.NBD_OPT_EXPORT_NAME) {
        throw violation(`Unsupported option ${option} (${optionName(option)})`)
      }
      const most = this.#mustSecure ? maximumPlainOption : maximumPayload
      if (length > most) throw violation(`len (${length} ) is larger than max len (${most})`)
      const agreed = await this.#answer(option, length)
      if (agreed === 'left') return undefined
      if (agreed !== undefined) return agreed
    }
  }

  get #mustSecure(): boolean {
    return this.#settings.tls !== undefined && !this.#secured
  }

  async #takeFlags(): Promise<void> {
    const flags = u32(await this.#input.read(4), 0)
    const known = ClientFlag.NBD_FLAG_C_FIXED_NEWSTYLE | ClientFlag.NBD_FLAG_C_NO_ZEROES
    this.#fixed = (flags & ClientFlag.NBD_FLAG_C_FIXED_NEWSTYLE) !== 0
    this.#noZeroes = (flags & ClientFlag.NBD_FLAG_C_NO_ZEROES) !== 0
    const unknown = (flags & ~known) >>> 0
    if (unknown !== 0) throw violation(`Unknown client flags 0x${unknown.toString(16)} received`)
  }

  /** Answers one option; what it comes to, if it ends the negotiation. */
  async #answer(option: number, length: number): Promise<Agreement | 'left' | undefined> {
    if (this.#mustSecure) return this.#answerPlain(option, length)
    switch (option) {
      case Option.NBD_OPT_EXPORT_NAME:
        return this.#exportName(length)
      case Option.NBD_OPT_ABORT:
        return this.#abort(length)
      case Option.NBD_OPT_LIST:
        return this.#withoutData(option, length, () => this.#list())
      case Option.NBD_OPT_STARTTLS:
        return this.#withoutData(option, length, () => {
          if (this.#secured) this.#refuse(option, OptionReply.NBD_REP_ERR_INVALID, 'TLS already enabled')
          else this.#refuse(option, OptionReply.NBD_REP_ERR_POLICY, 'TLS not configured')
        })
      case Option.NBD_OPT_STRUCTURED_REPLY:
        return this.#withoutData(option, length, () => this.#structuredReply())
      case Option.NBD_OPT_INFO:
      case Option.NBD_OPT_GO:
        return this.#withData(option, length, (data) => this.#info(option, data))
      case Option.NBD_OPT_LIST_META_CONTEXT:
      case Option.NBD_OPT_SET_META_CONTEXT:
        return this.#withData(option, length, (data) => this.#metaContext(option, data))
      default:
        await this.#input.skip(length)
        this.#refuse(option, OptionReply.NBD_REP_ERR_UNSUP, `Unsupported option ${option} (${optionName(option)})`)
        return undefined
    }
  }

  /** Before TLS stands, where it has to. */
  async #answerPlain(option: number, length: number): Promise<'left' | undefined> {
    if (option === Option.NBD_OPT_EXPORT_NAME) throw violation('Option 0x1 not permitted before TLS')
    if (option === Option.NBD_OPT_ABORT) return this.#abort(length)
    if (option === Option.NBD_OPT_STARTTLS) return this.#withoutData(option, length, () => this.#startTls())
    await this.#input.skip(length)
    const text = `Option 0x${option.toString(16)} not permitted before TLS`
    this.#refuse(option, OptionReply.NBD_REP_ERR_TLS_REQD, text)
    return undefined
  }

  async #withData<T>(option: number, length: number, answer: (data: Uint8Array) => T): Promise<T | undefined> {
    if (length <= maximumKeptOption) return answer(await this.#input.read(length))
    await this.#input.skip(length)
    this.#refuse(option, OptionReply.NBD_REP_ERR_TOO_BIG, `option '${optionName(option)}' is longer than needed`)
    return undefined
  }

  async #withoutData(option: number, length: number, answer: () => void | Promise<void>): Promise<undefined> {
    if (length === 0) {
      await answer()
      return undefined
    }
    await this.#input.skip(length)
    this.#refuse(option, OptionReply.NBD_REP_ERR_INVALID, `option '${optionName(option)}' has unexpected length`)
    return undefined
  }

  async #abort(length: number): Promise<'left'> {
    await this.#input.skip(length)
    this.#reply(Option.NBD_OPT_ABORT, OptionReply.NBD_REP_ACK)
    return 'left'
  }

  async #startTls(): Promise<void> {
    this.#reply(Option.NBD_OPT_STARTTLS, OptionReply.NBD_REP_ACK)
    // What came in plain text behind the option would be taken for the client's, protected word.
    if (this.#input.buffered > 0) throw violation('the client sent data between STARTTLS and the TLS handshake')
    this.#input.detach()
    try {
      this.#stream = await (this.#settings.tls as TlsServer).secure(this.#stream)
    } catch (error) {
      throw toBlockError(error)
    }
    this.#settings.onStream(this.#stream)
    this.#input = new ByteInput(this.#stream)
    this.#secured = true
  }

  #list(): void {
    for (const { name, description = '', shuttingDown } of this.#settings.exports) {
      if (shuttingDown) continue
      const data = new MessageWriter().string(name).text(description).end()
      this.#reply(Option.NBD_OPT_LIST, OptionReply.NBD_REP_SERVER, data)
    }
    this.#reply(Option.NBD_OPT_LIST, OptionReply.NBD_REP_ACK)
  }

  #structuredReply(): void {
    const option = Option.NBD_OPT_STRUCTURED_REPLY
    if (this.#structured) {
      this.#refuse(option, OptionReply.NBD_REP_ERR_INVALID, 'structured reply already negotiated')
      return
    }
    this.#structured = true
    this.#reply(option, OptionReply.NBD_REP_ACK)
  }

  async #exportName(length: number): Promise<Agreement> {
    if (length > NBD_MAX_STRING_SIZE) throw violation('Bad length received')
    const name = bytesText(await this.#input.read(length))
    const target = this.#settings.exports.named(name)
    if (target === undefined) throw violation(`export '${printable(name)}' not found`)
    const reply = new MessageWriter().u64(target.size).u16(this.#flags(target))
    if (!this.#noZeroes) reply.bytes(new Uint8Array(124))
    this.#stream.write(reply.end())
    return this.#agreement(target)
  }

  /** `NBD_OPT_INFO` and `NBD_OPT_GO`. */
  #info(option: number, data: Uint8Array): Agreement | undefined {
    const message = new MessageReader(data)
    const name = this.#name(option, message)
    if (name === undefined) return undefined
    const count = message.u16()
    const requests: number[] = []
    for (let i = 0; i < (count ?? 0) && message.left > 0; i++) requests.push(message.u16() ?? -1)
    if (count === undefined || requests.length !== count || requests.includes(-1)) return this.#inconsistent(option)
    if (message.left > 0) {
      this.#refuse(option, OptionReply.NBD_REP_ERR_INVALID, `option '${optionName(option)}' has unexpected length`)
      return undefined
    }
    const target = this.#find(option, name)
    if (target === undefined) return undefined
    const asked = requests.includes(Info.NBD_INFO_BLOCK_SIZE)
    this.#tell(option, target, requests.includes(Info.NBD_INFO_NAME), asked)
    this.#reply(option, OptionReply.NBD_REP_ACK)
    return option === Option.NBD_OPT_GO ? this.#agreement(target) : undefined
  }

  #tell(option: number, target: NbdExport, withName: boolean, blockSizeAsked: boolean): void {
    const info = (type: number): MessageWriter => new MessageWriter().u16(type)
    const tell = (message: MessageWriter): void => this.#reply(option, OptionReply.NBD_REP_INFO, message.end())
    if (withName) tell(info(Info.NBD_INFO_NAME).text(target.name))
    if (target.description !== undefined) tell(info(Info.NBD_INFO_DESCRIPTION).text(target.description))
    const { alignment, maxTransfer } = target.root.node.limits
    // One that does not ask for it may send what it likes; the graph aligns its requests.
    const minimum = blockSizeAsked || option === Option.NBD_OPT_INFO ? alignment : 1
    const sizes = info(Info.NBD_INFO_BLOCK_SIZE).u32(minimum).u32(Math.max(4096, alignment))
    tell(sizes.u32(Math.max(Math.min(maxTransfer, maximumPayload), minimum)))
    tell(info(Info.NBD_INFO_EXPORT).u64(target.size).u16(this.#flags(target)))
  }

  #metaContext(option: number, data: Uint8Array): undefined {
    if (!this.#structured) {
      const text = `request option '${optionName(option)}' when structured reply is not negotiated`
      this.#refuse(option, OptionReply.NBD_REP_ERR_INVALID, text)
      return undefined
    }
    const setting = option === Option.NBD_OPT_SET_META_CONTEXT
    if (setting) this.#selected = undefined
    const message = new MessageReader(data)
    const name = this.#name(option, message)
    if (name === undefined) return undefined
    const target = this.#find(option, name)
    if (target === undefined) return undefined
    const contexts = readQueries(message, target.contexts, setting)
    if (contexts === undefined) return this.#inconsistent(option)
    for (const context of contexts) {
      const reply = new MessageWriter().u32(setting ? context.id : 0).text(context.name)
      this.#reply(option, OptionReply.NBD_REP_META_CONTEXT, reply.end())
    }
    this.#reply(option, OptionReply.NBD_REP_ACK)
    if (setting) this.#selected = { target, contexts }
    return undefined
  }

  /** The name of an export at the start of an option; undefined when that was refused. */
  #name(option: number, message: MessageReader): string | undefined {
    const length = message.u32()
    if (length === undefined) return this.#inconsistent(option)
    if (length > NBD_MAX_STRING_SIZE) {
      this.#refuse(option, OptionReply.NBD_REP_ERR_INVALID, `Invalid name length: ${length}`)
      return undefined
    }
    const bytes = message.bytes(length)
    return bytes === undefined ? this.#inconsistent(option) : bytesText(bytes)
  }

  #find(option: number, name: string): NbdExport | undefined {
    const target = this.#settings.exports.named(name)
    if (target !== undefined) return target
    this.#refuse(option, OptionReply.NBD_REP_ERR_UNKNOWN, `export '${printable(name)}' not present`)
    return undefined
  }

  #inconsistent(option: number): undefined {
    const text = `Inconsistent lengths in option ${optionName(option)}`
    this.#refuse(option, OptionReply.NBD_REP_ERR_INVALID, text)
    return undefined
  }

  #agreement(target: NbdExport): Agreement {
    const contexts = this.#selected?.target === target ? this.#selected.contexts : []
    return { target, structured: this.#structured, contexts, stream: this.#stream, input: this.#input }
  }

  #flags(target: NbdExport): number {
    return target.flags(this.#structured, this.#settings.multiConn)
  }

  #refuse(option: number, reply: number, text: string): void {
    this.#reply(option, reply, new MessageWriter().text(text).end())
  }

  #reply(option: number, type: number, data: Uint8Array = new Uint8Array(0)): void {
    const high = Number(NBD_OPT_REPLY_MAGIC >> 32n)
    const low = Number(NBD_OPT_REPLY_MAGIC & 0xffffffffn)
    const message = new MessageWriter().u32(high).u32(low).u32(option).u32(type).u32(data.length)
    this.#stream.write(message.bytes(data).end())
  }
}

/**
 * The contexts of `all` that the queries at the end of an option ask for; undefined when lengths disagree. To be set,
 * a context is asked for by its whole name. Queries that are too long match nothing.
 */
function readQueries(
  message: MessageReader,
  all: readonly MetaContext[],
  setting: boolean,
): readonly MetaContext[] | undefined {
  const count = message.u32()
  if (count === undefined) return undefined
  const asked = new Set<MetaContext>()
  for (let i = 0; i < count; i++) {
    const length = message.u32()
    const bytes = length === undefined ? undefined : message.bytes(length)
    if (bytes === undefined) return undefined
    if (bytes.length > NBD_MAX_STRING_SIZE) continue
    const query = bytesText(bytes)
    const found = setting ? all.filter(({ name }) => name === query) : listedContexts(all, query)
    for (const context of found) asked.add(context)
  }
  if (message.left > 0) return undefined
  return count === 0 && !setting ? all : all.filter((context) => asked.has(context))
}
