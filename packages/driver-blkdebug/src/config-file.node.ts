import { open } from 'node:fs/promises'
import { BlockError, describeErrorCode, errorCodeOf } from '@diskgraph/core/driver'

const maxLength = 2 ** 20

/** The text of a configuration file of at most 1 MiB. */
export async function readConfigFile(path: string): Promise<string> {
  try {
    await using file = await open(path, 'r')
    const bytes = new Uint8Array(maxLength + 1)
    let length = 0
    for (;;) {
      const { bytesRead } = await file.read(bytes, length, bytes.length - length)
      length += bytesRead
      if (length > maxLength) throw new BlockError('EFBIG', 'a configuration file is at most 1 MiB long')
      if (bytesRead === 0) return new TextDecoder().decode(bytes.subarray(0, length))
    }
  } catch (cause) {
    const code = errorCodeOf(cause)
    throw new BlockError(code, `Could not read blkdebug config file: ${describeErrorCode(code)}`, { cause })
  }
}
