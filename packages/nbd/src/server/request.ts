/** A request of a client as it stands on the wire, and what is wrong with it before the disk is asked. */
import { u16, u32 } from '../wire/bytes.ts'
import { Command, CommandFlag, maximumPayload, WireError } from '../wire/protocol.ts'
import type { Cookie } from '../wire/replies.ts'
import type { Slab } from './buffer-pool.ts'

/** A request whose header has arrived. */
export class Request implements Cookie {
  readonly flags: number
  readonly command: number
  readonly high: number
  readonly low: number
  readonly offsetHigh: number
  readonly offsetLow: number
  readonly length: number
  /** Bytes of the memory budget that it takes. */
  cost = 0
  /** Where its payload stands, if that came in pieces. */
  payload: Slab | undefined

  /** Takes it from `bytes` at `at`, behind the magic number. */
  constructor(bytes: Uint8Array, at: number) {
    this.flags = u16(bytes, at)
    this.command = u16(bytes, at + 2)
    this.high = u32(bytes, at + 4)
    this.low = u32(bytes, at + 8)
    this.offsetHigh = u32(bytes, at + 12)
    this.offsetLow = u32(bytes, at + 16)
    this.length = u32(bytes, at + 20)
  }

  /** Not exact above 2^53, where no disk is. */
  get offset(): number {
    return this.offsetHigh * 2 ** 32 + this.offsetLow
  }
}

/** What is wrong with a request. */
export interface Refusal {
  readonly error: number
  readonly text: string
  /** What follows cannot be understood: the connection ends behind the reply. */
  readonly fatal?: boolean
}

const commandNames = ['read', 'write', 'disconnect', 'flush', 'trim', 'cache', 'write zeroes', 'block status']

const { NBD_CMD_FLAG_FUA, NBD_CMD_FLAG_NO_HOLE, NBD_CMD_FLAG_DF, NBD_CMD_FLAG_REQ_ONE, NBD_CMD_FLAG_FAST_ZERO } =
  CommandFlag

/** The flags that a command may have. FUA goes with each of them. */
function validFlags(command: number, structured: boolean): number {
  switch (command) {
    case Command.NBD_CMD_READ:
      return NBD_CMD_FLAG_FUA | (structured ? NBD_CMD_FLAG_DF : 0)
    case Command.NBD_CMD_WRITE_ZEROES:
      return NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO
    case Command.NBD_CMD_BLOCK_STATUS:
      return NBD_CMD_FLAG_FUA | NBD_CMD_FLAG_REQ_ONE
    default:
      return NBD_CMD_FLAG_FUA
  }
}

/** What is too long about the payload or the answer of a request, before either is taken. */
export function payloadRefusal({ command, length }: Request): Refusal | undefined {
  if (length <= maximumPayload || !carriesData(command)) return undefined
  const text = `len (${length} ) is larger than max len (${maximumPayload})`
  return { error: WireError.NBD_EINVAL, text, fatal: command === Command.NBD_CMD_WRITE }
}

function carriesData(command: number): boolean {
  return command === Command.NBD_CMD_READ || command === Command.NBD_CMD_WRITE || command === Command.NBD_CMD_CACHE
}

/** What the server knows when it judges a request. */
interface Judgement {
  readonly size: number
  readonly writable: boolean
  readonly structured: boolean
  /** The client has chosen a metadata context. */
  readonly hasContexts: boolean
}

/** What is wrong with a request whose payload has arrived; words and order as QEMU's server has them. */
export function requestRefusal(request: Request, judgement: Judgement): Refusal | undefined {
  const { command, flags, offset, length } = request
  const { size, writable } = judgement
  const refuse = (text: string): Refusal => ({ error: WireError.NBD_EINVAL, text })
  if (!writable && changesDisk(command)) return refuse('Export is read-only')
  if (command !== Command.NBD_CMD_FLUSH && offset + length > size) {
    return refuse(`operation past EOF; From: ${exactOffset(request)}, Len: ${length}, Size: ${size}`)
  }
  if ((flags & ~validFlags(command, judgement.structured)) !== 0) {
    const name = commandNames[command] ?? '<unknown>'
    return refuse(`unsupported flags for command ${name} (got 0x${flags.toString(16)})`)
  }
  if (command !== Command.NBD_CMD_BLOCK_STATUS) {
    return command < Command.NBD_CMD_BLOCK_STATUS ? undefined : refuse(`invalid request type (${command}) received`)
  }
  if (length === 0) return refuse('need non-zero length')
  return judgement.hasContexts ? undefined : refuse('CMD_BLOCK_STATUS not negotiated')
}

function changesDisk(command: number): boolean {
  return (
    command === Command.NBD_CMD_WRITE || command === Command.NBD_CMD_TRIM || command === Command.NBD_CMD_WRITE_ZEROES
  )
}

/** The offset in digits. */
function exactOffset({ offsetHigh, offsetLow }: Request): string {
  return String((BigInt(offsetHigh) << 32n) | BigInt(offsetLow))
}
