import {
  BlockError,
  type Child,
  type ErrorCode,
  errorCodes,
  isAligned,
  isPowerOfTwo,
  type Limits,
  type OptionSchemas,
} from '@diskgraph/core/driver'
import { errorCodeOfErrno } from './errno.ts'
import { type BlkdebugEvent, blkdebugEvents, canonicalEvent, dottedEvents } from './events.ts'
import { type ErrorRule, type RequestKind, requestKinds, type StateRule } from './rules.ts'

/** An error to inject. */
export interface InjectErrorOptions {
  /** The event that arms the rule; `none`: armed from the start. */
  event: BlkdebugEvent
  /** State in which the event arms it. Default 0: any. */
  state?: number
  /** Kind of request that fails. Default: every kind but `block-status`. */
  iotype?: RequestKind
  /** Error by name or by Linux number; 0 lets the request through. Default EIO. */
  errno?: number | ErrorCode
  /** Sector of 512 bytes that the request must contain. Default -1: any. */
  sector?: number
  /** The rule fails one request only. Default false. */
  once?: boolean
  /** The request fails at once rather than after a turn of the event loop. Default false. */
  immediately?: boolean
}

/** A change of state on an event. */
export interface SetStateOptions {
  event: BlkdebugEvent
  /** State in which it applies. Default 0: any. */
  state?: number
  newState: number
}

/** Name of a permission on the image. */
export type PermissionName = 'consistent-read' | 'write' | 'write-unchanged' | 'resize'

/** Options of a `blkdebug` node. */
export interface BlkdebugOptions {
  /** The node to filter. */
  image: Child
  /** Name of a configuration file with rules (Node only). They come before those of `injectError` and `setState`. */
  config?: string
  /** Requests are widened to multiples of this. A power of two; default 1. */
  align?: number
  maxTransfer?: number
  /** Zeroes reach the image in multiples of this; the edges are written as data. */
  optWriteZero?: number
  maxWriteZero?: number
  /** Discards are cut at multiples of this before they reach the image. */
  optDiscard?: number
  maxDiscard?: number
  injectError?: readonly InjectErrorOptions[]
  setState?: readonly SetStateOptions[]
  /** Permissions to take on the image, whatever the parents need. */
  takeChildPerms?: readonly PermissionName[]
  /** Permissions not to share with other users of the image. */
  unshareChildPerms?: readonly PermissionName[]
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    blkdebug: { open: BlkdebugOptions }
  }
}

const eventOption = {
  type: 'enum',
  values: [...blkdebugEvents, ...dottedEvents],
  required: true,
  description: 'Event that the rule waits for; "none" happens at opening',
} as const

const stateOption = { type: 'integer', default: 0, description: 'State in which the rule applies, 0 for any' } as const

/** Schema of one rule of `injectError`. */
export const injectErrorSchemas: OptionSchemas = {
  event: eventOption,
  state: stateOption,
  iotype: {
    type: 'enum',
    values: requestKinds,
    description: 'Kind of request that fails (default: all but block-status)',
  },
  errno: {
    type: 'alternate',
    of: [
      { type: 'integer', minimum: 0, description: 'Linux number' },
      { type: 'enum', values: errorCodes, description: 'name' },
    ],
    description: 'Error by number or name (default EIO); 0 lets the request through',
  },
  sector: {
    type: 'integer',
    minimum: -1,
    default: -1,
    description: 'Sector of 512 bytes that the request must contain, -1 for any',
  },
  once: { type: 'boolean', default: false, description: 'Fail one request only' },
  immediately: { type: 'boolean', default: false, description: 'Fail without a turn of the event loop' },
}

/** Schema of one rule of `setState`. Its `new_state` has an underscore in QAPI, too, so that is its name here. */
export const setStateSchemas: OptionSchemas = {
  event: eventOption,
  state: stateOption,
  new_state: { type: 'integer', required: true, aliases: ['newState'], description: 'State from then on' },
}

const permissionNames = ['consistent-read', 'write', 'write-unchanged', 'resize'] as const

function sizeOption(description: string) {
  return { type: 'integer', size: true, minimum: 0, strong: true, description } as const
}

/** Schema of the options of the driver. */
export const blkdebugSchemas: OptionSchemas = {
  image: { type: 'child', role: 'filtered', required: true, description: 'Node to filter' },
  config: { type: 'string', strong: true, description: 'Configuration file with rules' },
  align: sizeOption('Requests are widened to multiples of this, a power of two'),
  maxTransfer: sizeOption('Longest read or write, a multiple of align'),
  optWriteZero: sizeOption('Zeroes reach the image in multiples of this'),
  maxWriteZero: sizeOption('Longest write of zeroes, a multiple of optWriteZero and align'),
  optDiscard: sizeOption('Discards are cut at multiples of this'),
  maxDiscard: sizeOption('Longest discard, a multiple of optDiscard and align'),
  injectError: {
    type: 'list',
    strong: true,
    items: { type: 'object', properties: injectErrorSchemas, description: 'An error to inject' },
    description: 'Errors to inject',
  },
  setState: {
    type: 'list',
    strong: true,
    items: { type: 'object', properties: setStateSchemas, description: 'A change of state' },
    description: 'Changes of state',
  },
  takeChildPerms: {
    type: 'list',
    items: { type: 'enum', values: permissionNames, description: 'A permission' },
    description: 'Permissions to take on the image (consistent-read, write, write-unchanged, resize)',
  },
  unshareChildPerms: {
    type: 'list',
    items: { type: 'enum', values: permissionNames, description: 'A permission' },
    description: 'Permissions on the image not to share with others',
  },
}

/** A rule of `injectError` as the validated options have it. */
export function errorRule(options: Readonly<Record<string, unknown>>): ErrorRule {
  const { event, state, iotype, errno = 'EIO', sector, once, immediately } = options as Required<InjectErrorOptions>
  return {
    event: canonicalEvent(event) as string,
    state,
    kind: iotype,
    code: errno === 0 ? undefined : errorCodeOfErrno(errno),
    offset: sector === -1 ? undefined : sector * 512,
    once,
    immediately,
  }
}

/** A rule of `setState` as the validated options have it. */
export function stateRule(options: Readonly<Record<string, unknown>>): StateRule {
  return {
    event: canonicalEvent(options.event as string) as string,
    state: options.state as number,
    newState: options.new_state as number,
  }
}

const maxOption = 2 ** 31 - 2

/** The limits that the options ask for, checked against each other and those of the image. */
export function limitsOf(options: Omit<BlkdebugOptions, 'image'>, image: Limits): Limits {
  const { align = 0, maxTransfer = 0, optWriteZero = 0, maxWriteZero = 0, optDiscard = 0, maxDiscard = 0 } = options
  const unit = Math.max(align, image.alignment)
  demand('align', align, align === 0 || isPowerOfTwo(align))
  demand('max-transfer', maxTransfer, isAligned(maxTransfer, unit))
  demand('opt-write-zero', optWriteZero, isAligned(optWriteZero, unit))
  demand('max-write-zero', maxWriteZero, isAligned(maxWriteZero, Math.max(optWriteZero, unit)))
  demand('opt-discard', optDiscard, isAligned(optDiscard, unit))
  demand('max-discard', maxDiscard, isAligned(maxDiscard, Math.max(optDiscard, unit)))
  return {
    alignment: align || 1,
    maxTransfer: Math.min(maxTransfer || Number.POSITIVE_INFINITY, image.maxTransfer),
    maxWriteZeroes: Math.min(maxWriteZero || Number.POSITIVE_INFINITY, image.maxWriteZeroes),
    writeZeroesAlignment: optWriteZero || 1,
    maxDiscard: Math.min(maxDiscard || Number.POSITIVE_INFINITY, image.maxDiscard),
    discardAlignment: 1,
    optimalTransfer: image.optimalTransfer,
  }
}

function demand(name: string, value: number, met: boolean): void {
  if (!met || value > maxOption) throw new BlockError('EINVAL', `Cannot meet constraints with ${name} ${value}`)
}
