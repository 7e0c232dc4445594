import { BlockError, type Child, type DriverDescriptor, type OpenContext, Permission } from '@diskgraph/core/driver'
import { QuorumImage, type QuorumSettings } from './image.ts'

/** Options of a `quorum` node. */
export interface QuorumOptions {
  /** The copies, at least one, all of one size. */
  children: readonly Child[]
  /** How many children must agree; at least 1, at most as many as there are. */
  voteThreshold: number
  /** Two children that must always agree: a read of different content fails with the place. Default false. */
  blkverify?: boolean
  /** A read that finds a minority with other content corrects it. Default false. */
  rewriteCorrupted?: boolean
  /** `fifo` reads from the first child that can, without a vote. Default `quorum`. */
  readPattern?: 'quorum' | 'fifo'
}

declare module '@diskgraph/core/driver' {
  interface BlockDrivers {
    quorum: { open: QuorumOptions }
  }
}

const { ConsistentRead, Write, WriteUnchanged } = Permission

async function openQuorum(context: OpenContext): Promise<QuorumImage> {
  const given = context.options as unknown as QuorumSettings
  const children = context.children.list('children')
  checkSettings(given, children.length)
  const [first, ...others] = children
  const odd = others.find((child) => child.size !== first?.size)
  if (odd !== undefined) {
    throw new BlockError(
      'EIO',
      `the children of a quorum must have one size: ${first?.size} bytes in '${first?.filename}', ` +
        `${odd.size} bytes in '${odd.filename}'`,
    )
  }
  // Without votes there is nothing to verify and nobody to correct.
  const voting = given.readPattern === 'quorum'
  const settings = voting ? given : { ...given, blkverify: false, rewriteCorrupted: false }
  return new QuorumImage(settings, context)
}

/** Refuses settings that do not go together, with QEMU's words. */
function checkSettings(settings: QuorumSettings, count: number): void {
  const { voteThreshold, blkverify, rewriteCorrupted, readPattern } = settings
  if (voteThreshold < 1) throw new BlockError('EINVAL', "Parameter 'vote-threshold' expects a value >= 1")
  if (voteThreshold > count) throw new BlockError('EINVAL', 'threshold may not exceed children count')
  if (readPattern === 'fifo') return
  if (blkverify && (count !== 2 || voteThreshold !== 2)) {
    throw new BlockError(
      'EINVAL',
      'blkverify=on can only be set if there are exactly two files and vote-threshold is 2',
    )
  }
  if (blkverify && rewriteCorrupted) {
    throw new BlockError('EINVAL', 'rewrite-corrupted=on cannot be used with blkverify=on')
  }
}

/** The driver `quorum`. */
export const quorum: DriverDescriptor = {
  name: 'quorum',
  kind: 'filter',
  description: 'Several copies of one disk: writes go to all, reads are voted on.',
  options: {
    children: {
      type: 'children',
      role: 'replica',
      required: true,
      minimum: 1,
      description: 'The copies, all of one size',
    },
    voteThreshold: {
      type: 'integer',
      required: true,
      strong: true,
      description: 'How many children must agree',
    },
    blkverify: {
      type: 'boolean',
      default: false,
      strong: true,
      description: 'Two children must always agree: a read of different content fails with the place',
    },
    rewriteCorrupted: {
      type: 'boolean',
      default: false,
      strong: true,
      description: 'Correct the content of children that lose a vote',
    },
    readPattern: {
      type: 'enum',
      values: ['quorum', 'fifo'],
      default: 'quorum',
      strong: true,
      description: 'Vote on every read, or read from the first child that can',
    },
  },
  open: openQuorum,
  childPermissions({ options }, permissions, shared) {
    const { rewriteCorrupted, readPattern } = options as Partial<QuorumSettings>
    return {
      permissions: permissions | (rewriteCorrupted && readPattern !== 'fifo' ? Write : 0),
      shared: shared & (ConsistentRead | WriteUnchanged),
    }
  },
}
