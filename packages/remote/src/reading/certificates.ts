import { readFile } from 'node:fs/promises'
import { BlockError } from '@diskgraph/core/driver'

/** The certificates (PEM) in a file; undefined without a name. EINVAL when it cannot be read. */
export async function readCertificates(filename: string | undefined): Promise<string | undefined> {
  if (filename === undefined) return undefined
  try {
    return await readFile(filename, 'utf8')
  } catch (cause) {
    const reason = (cause as Error).message
    throw new BlockError('EINVAL', `cannot read the certificates in '${filename}': ${reason}`, { cause })
  }
}
