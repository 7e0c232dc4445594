/** QAPI: the options that every node has, and references to nodes. The options of each driver come on top. */
import type { TypeTable } from '../notation.ts'

export const nodeTypes = {
  BlockdevOptionsBase: {
    struct: {
      driver: 'BlockdevDriver',
      '*node-name': 'str',
      '*discard': 'BlockdevDiscardOptions',
      '*cache': 'BlockdevCacheOptions',
      '*read-only': 'bool',
      '*auto-read-only': 'bool',
      '*force-share': 'bool',
      '*detect-zeroes': 'BlockdevDetectZeroesOptions',
      '*id': 'str',
      '*aio': 'BlockdevAioOptions',
      '*rerror': 'BlockdevOnError',
      '*werror': 'BlockdevOnError',
    },
  },
  BlockdevDiscardOptions: { enum: ['ignore', 'unmap'] },
  BlockdevCacheOptions: { struct: { '*writeback': 'bool', '*direct': 'bool', '*no-flush': 'bool' } },
  BlockdevAioOptions: { enum: ['threads', 'native', 'io_uring'] },
  BlockdevRef: { alternate: ['BlockdevOptions', 'str'] },
  BlockdevRefOrNull: { alternate: ['BlockdevOptions', 'str', 'null'] },
} as const satisfies TypeTable
