/**
 * The numbers of the protocol, named as in its document, `doc/proto.md` of github.com/NetworkBlockDevice/nbd.
 * All integers on the wire are big-endian.
 */

/** `NBDMAGIC`, the first 8 bytes of a server. */
export const NBD_INIT_PASSWD = 'NBDMAGIC'
/** `IHAVEOPT`, the second 8 bytes of a server of the newstyle, and the first of each option of a client. */
export const NBD_OPTS_MAGIC = 'IHAVEOPT'
/** The second 8 bytes of a server of the oldstyle. */
export const NBD_CLISERV_MAGIC = 0x00420281861253n
/** The first 8 bytes of each reply to an option. */
export const NBD_OPT_REPLY_MAGIC = 0x0003e889045565a9n

export const NBD_REQUEST_MAGIC = 0x25609513
export const NBD_SIMPLE_REPLY_MAGIC = 0x67446698
export const NBD_STRUCTURED_REPLY_MAGIC = 0x668e33ef

/** Flags of the server's greeting. */
export const Handshake = { NBD_FLAG_FIXED_NEWSTYLE: 1, NBD_FLAG_NO_ZEROES: 2 } as const

/** Flags of the client's answer to the greeting. */
export const ClientFlag = { NBD_FLAG_C_FIXED_NEWSTYLE: 1, NBD_FLAG_C_NO_ZEROES: 2 } as const

/** What a client asks for while it negotiates. */
export const Option = {
  NBD_OPT_EXPORT_NAME: 1,
  NBD_OPT_ABORT: 2,
  NBD_OPT_LIST: 3,
  NBD_OPT_STARTTLS: 5,
  NBD_OPT_INFO: 6,
  NBD_OPT_GO: 7,
  NBD_OPT_STRUCTURED_REPLY: 8,
  NBD_OPT_LIST_META_CONTEXT: 9,
  NBD_OPT_SET_META_CONTEXT: 10,
} as const

/** What a server replies to an option. Errors have bit 31. */
export const OptionReply = {
  NBD_REP_ACK: 1,
  NBD_REP_SERVER: 2,
  NBD_REP_INFO: 3,
  NBD_REP_META_CONTEXT: 4,
  NBD_REP_ERR_UNSUP: 0x80000001,
  NBD_REP_ERR_POLICY: 0x80000002,
  NBD_REP_ERR_INVALID: 0x80000003,
  NBD_REP_ERR_PLATFORM: 0x80000004,
  NBD_REP_ERR_TLS_REQD: 0x80000005,
  NBD_REP_ERR_UNKNOWN: 0x80000006,
  NBD_REP_ERR_SHUTDOWN: 0x80000007,
  NBD_REP_ERR_BLOCK_SIZE_REQD: 0x80000008,
  NBD_REP_ERR_TOO_BIG: 0x80000009,
} as const

/** What a server tells of an export. */
export const Info = {
  NBD_INFO_EXPORT: 0,
  NBD_INFO_NAME: 1,
  NBD_INFO_DESCRIPTION: 2,
  NBD_INFO_BLOCK_SIZE: 3,
} as const

/** What an export can do, bits of 16. */
export const TransmissionFlag = {
  NBD_FLAG_HAS_FLAGS: 1,
  NBD_FLAG_READ_ONLY: 2,
  NBD_FLAG_SEND_FLUSH: 4,
  NBD_FLAG_SEND_FUA: 8,
  NBD_FLAG_ROTATIONAL: 16,
  NBD_FLAG_SEND_TRIM: 32,
  NBD_FLAG_SEND_WRITE_ZEROES: 64,
  NBD_FLAG_SEND_DF: 128,
  NBD_FLAG_CAN_MULTI_CONN: 256,
  NBD_FLAG_SEND_RESIZE: 512,
  NBD_FLAG_SEND_CACHE: 1024,
  NBD_FLAG_SEND_FAST_ZERO: 2048,
} as const

/** What a client asks for once it uses an export. */
export const Command = {
  NBD_CMD_READ: 0,
  NBD_CMD_WRITE: 1,
  NBD_CMD_DISC: 2,
  NBD_CMD_FLUSH: 3,
  NBD_CMD_TRIM: 4,
  NBD_CMD_CACHE: 5,
  NBD_CMD_WRITE_ZEROES: 6,
  NBD_CMD_BLOCK_STATUS: 7,
} as const

/** How a command is meant. */
export const CommandFlag = {
  NBD_CMD_FLAG_FUA: 1,
  NBD_CMD_FLAG_NO_HOLE: 2,
  NBD_CMD_FLAG_DF: 4,
  NBD_CMD_FLAG_REQ_ONE: 8,
  NBD_CMD_FLAG_FAST_ZERO: 16,
} as const

/** Set on the last chunk of a structured reply. */
export const NBD_REPLY_FLAG_DONE = 1

/** Types of chunks of a structured reply. Errors have bit 15. */
export const ReplyType = {
  NBD_REPLY_TYPE_NONE: 0,
  NBD_REPLY_TYPE_OFFSET_DATA: 1,
  NBD_REPLY_TYPE_OFFSET_HOLE: 2,
  NBD_REPLY_TYPE_BLOCK_STATUS: 5,
  NBD_REPLY_TYPE_ERROR: 0x8001,
  NBD_REPLY_TYPE_ERROR_OFFSET: 0x8002,
} as const

/** Bit of the types of chunks that are errors. */
export const NBD_REPLY_TYPE_IS_ERROR = 0x8000

/** Status flags of the context `base:allocation`. */
export const AllocationState = { NBD_STATE_HOLE: 1, NBD_STATE_ZERO: 2 } as const

/** Error numbers on the wire. */
export const WireError = {
  NBD_EPERM: 1,
  NBD_EIO: 5,
  NBD_ENOMEM: 12,
  NBD_EINVAL: 22,
  NBD_ENOSPC: 28,
  NBD_EOVERFLOW: 75,
  NBD_ENOTSUP: 95,
  NBD_ESHUTDOWN: 108,
} as const

/** Longest text, in bytes. */
export const NBD_MAX_STRING_SIZE = 4096
/** Longest payload of a request or an option that both sides of this package take, in bytes; the document's default. */
export const maximumPayload = 32 * 1024 * 1024
/** Lengths of headers, in bytes. */
export const requestLength = 28
export const simpleReplyLength = 16
export const chunkHeaderLength = 20

const optionNames: Readonly<Record<number, string>> = {
  [Option.NBD_OPT_EXPORT_NAME]: 'export name',
  [Option.NBD_OPT_ABORT]: 'abort',
  [Option.NBD_OPT_LIST]: 'list',
  [Option.NBD_OPT_STARTTLS]: 'starttls',
  [Option.NBD_OPT_INFO]: 'info',
  [Option.NBD_OPT_GO]: 'go',
  [Option.NBD_OPT_STRUCTURED_REPLY]: 'structured reply',
  [Option.NBD_OPT_LIST_META_CONTEXT]: 'list meta context',
  [Option.NBD_OPT_SET_META_CONTEXT]: 'set meta context',
}

/** What an option is called in messages. */
export function optionName(option: number): string {
  return optionNames[option] ?? '<unknown>'
}
