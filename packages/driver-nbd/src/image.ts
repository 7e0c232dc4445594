/** The image of an `nbd` node: a client, and its server's answers in the words of the contract. */
import {
  BlockError,
  type BlockStatus,
  Flag,
  isBlockError,
  type Limits,
  type OpenContext,
  type OpenImage,
  type TruncateOptions,
} from '@diskgraph/core/driver'
import {
  AllocationState,
  CommandFlag,
  connectSocket,
  NbdClient,
  type StatusRun,
  type TlsClient,
  type TlsCredentials,
  TransmissionFlag,
} from '@diskgraph/nbd'
import { type NbdOptions, serverOf, socketAddress } from './options.ts'

const defaultContext = 'base:allocation'
const depthContext = 'qemu:allocation-depth'

class NbdImage implements OpenImage {
  readonly identity: string
  readonly limits: Partial<Limits>
  readonly writeFlags: number
  readonly zeroFlags: number
  readonly write?: OpenImage['write']
  readonly writeZeroes?: OpenImage['writeZeroes']
  readonly discard?: OpenImage['discard']
  readonly flush?: OpenImage['flush']
  readonly blockStatus?: OpenImage['blockStatus']
  readonly size: number
  /** What an export holds when it is opened is not known. */
  readonly zeroInit = false
  readonly #client: NbdClient
  readonly #context: string
  #hold: (() => void) | undefined

  constructor(client: NbdClient, identity: string, context: string) {
    const { info } = client
    this.#client = client
    this.#context = context
    this.identity = identity
    this.size = info.size
    this.limits = limitsOf(client)
    this.writeFlags = client.can(TransmissionFlag.NBD_FLAG_SEND_FUA) ? Flag.Fua : 0
    const fast = client.can(TransmissionFlag.NBD_FLAG_SEND_FAST_ZERO) ? Flag.NoFallback : 0
    this.zeroFlags = this.writeFlags | Flag.MayUnmap | fast
    if (!client.readOnly) {
      this.write = this.#write
      if (client.can(TransmissionFlag.NBD_FLAG_SEND_WRITE_ZEROES)) this.writeZeroes = this.#writeZeroes
      if (client.can(TransmissionFlag.NBD_FLAG_SEND_TRIM)) this.discard = this.#discard
    }
    if (client.can(TransmissionFlag.NBD_FLAG_SEND_FLUSH)) this.flush = (signal) => this.#client.flush(signal)
    if ([...info.contexts.values()].includes(context)) this.blockStatus = this.#blockStatus
  }

  read(offset: number, buf: Uint8Array, _flags: number, signal?: AbortSignal): Promise<void> {
    return this.#client.read(offset, buf, signal)
  }

  #write(offset: number, buf: Uint8Array, flags: number, signal?: AbortSignal): Promise<void> {
    return this.#client.write(offset, buf, (flags & Flag.Fua) !== 0, signal)
  }

  #writeZeroes(offset: number, length: number, flags: number, signal?: AbortSignal): Promise<void> {
    const wire =
      ((flags & Flag.Fua) !== 0 ? CommandFlag.NBD_CMD_FLAG_FUA : 0) |
      ((flags & Flag.MayUnmap) !== 0 ? 0 : CommandFlag.NBD_CMD_FLAG_NO_HOLE) |
      ((flags & Flag.NoFallback) !== 0 ? CommandFlag.NBD_CMD_FLAG_FAST_ZERO : 0)
    return this.#client.writeZeroes(offset, length, wire, signal)
  }

  #discard(offset: number, length: number, signal?: AbortSignal): Promise<void> {
    return this.#client.trim(offset, length, signal)
  }

  /** An export has the size that it has; one that may be larger than wanted is no error. */
  async truncate(size: number, { exact = false }: TruncateOptions): Promise<void> {
    if (size > this.size) throw new BlockError('ENOTSUP', 'Cannot grow NBD nodes')
    if (exact && size !== this.size) throw new BlockError('ENOTSUP', 'Cannot resize NBD nodes')
  }

  async #blockStatus(offset: number, length: number, signal?: AbortSignal): Promise<BlockStatus> {
    const statuses = await this.#client.blockStatus(offset, Math.min(length, longestStatus), true, signal)
    const run = statuses.get(this.#context)?.[0]
    if (run === undefined) throw new BlockError('EIO', `the server told no status of '${this.#context}'`)
    return this.#context === defaultContext ? allocation(run, offset) : shownStatus(this.#context, run, offset)
  }

  drainBegin(): void {
    this.#hold = this.#client.letGo()
  }

  drainEnd(): void {
    this.#hold?.()
    this.#hold = undefined
  }

  close(): Promise<void> {
    return this.#client.close()
  }
}

/** What is neither data nor zeroes has to be read, too: nothing is known of it. */
function allocation({ length, flags }: StatusRun, offset: number): BlockStatus {
  const zero = (flags & AllocationState.NBD_STATE_ZERO) !== 0
  const data = (flags & AllocationState.NBD_STATE_HOLE) === 0 || !zero
  return { length, data, zero, allocated: true, offset }
}

/**
 * Flags of another context, for people to look at, bit by bit as those of `base:allocation`: so a dirty range is no data.
 * A depth in a chain is 0 for no image, 1 for the top one, and 2 for every other one.
 */
function shownStatus(context: string, { length, flags }: StatusRun, offset: number): BlockStatus {
  const bits = context === depthContext ? Math.min(flags, 2) : flags
  const data = (bits & 1) === 0
  const zero = (bits & 2) !== 0
  return data || zero
    ? { length, data, zero, allocated: true, offset }
    : { length, data, zero, allocated: false, recurse: 'all' }
}

/** Longest range of a status query: its length has 32 bits, of whole blocks. */
const longestStatus = 2 ** 31

function limitsOf({ info }: NbdClient): Partial<Limits> {
  const { minimumBlock, maximumPayload, preferredBlock, size } = info
  // A size that is no multiple of the block could not be read to its end; the server then takes what it is given.
  const alignment = size % minimumBlock === 0 ? minimumBlock : 1
  // Requests without data have lengths of 32 bits.
  const longest = Math.floor((2 ** 32 - 1) / minimumBlock) * minimumBlock
  return {
    alignment,
    maxTransfer: maximumPayload,
    maxWriteZeroes: longest,
    maxDiscard: longest,
    optimalTransfer: preferredBlock,
  }
}

/** Opens an `nbd` node. */
export async function openImage(context: OpenContext): Promise<OpenImage> {
  const options = context.options as NbdOptions
  const server = serverOf(options)
  const address = socketAddress(server)
  const status = options.xDirtyBitmap ?? defaultContext
  const tls = tlsOf(context, options, server.type === 'inet' ? server.host : undefined)
  const client = await NbdClient.connect({
    connect: (signal) => connectSocket(address, signal),
    exportName: options.export ?? '',
    contexts: [status],
    reconnectDelay: options.reconnectDelay ?? 0,
    openTimeout: options.openTimeout ?? 0,
    clock: context.clock,
    random: context.random,
    ...(context.signal === undefined ? {} : { signal: context.signal }),
    ...(tls === undefined ? {} : { tls }),
  })
  try {
    if (options.xDirtyBitmap !== undefined && client.info.contexts.size === 0) {
      throw new BlockError('EINVAL', `requested x-dirty-bitmap ${options.xDirtyBitmap} not found`)
    }
    if (client.readOnly && !context.readOnly) context.becomeReadOnly('request on write denied without write permission')
    return new NbdImage(client, JSON.stringify([server, options.export ?? '']), status)
  } catch (error) {
    await client.close()
    throw error
  }
}

function tlsOf(
  context: OpenContext,
  { tlsCreds, tlsHostname }: NbdOptions,
  host: string | undefined,
): TlsClient | undefined {
  if (tlsCreds === undefined) {
    if (tlsHostname === undefined) return undefined
    throw new BlockError('EINVAL', 'TLS hostname requires TLS credentials')
  }
  let found: unknown
  try {
    found = context.object('tls-creds', tlsCreds)
  } catch (error) {
    if (!isBlockError(error)) throw error
    throw new BlockError('EINVAL', `No TLS credentials with id '${tlsCreds}'`)
  }
  return (found as TlsCredentials).client(tlsHostname ?? host)
}
