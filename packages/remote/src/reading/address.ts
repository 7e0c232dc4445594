/** URLs of nodes: parsing, and the credentials inside. */
import { BlockError, withoutSecrets } from '@diskgraph/core/driver'

/** A URL taken apart. */
export interface Address {
  /** Without user name, password and fragment. */
  readonly url: URL
  readonly username: string | undefined
  readonly password: string | undefined
}

/** Parses the URL of a node. EINVAL, with QEMU's text, for one that does not begin with the protocol. */
export function parseAddress(protocol: string, text: string): Address {
  const shown = withoutSecrets(text)
  if (!text.startsWith(`${protocol}://`)) {
    throw new BlockError(
      'EINVAL',
      `${protocol} curl driver cannot handle the URL '${shown}' (does not start with '${protocol}://')`,
    )
  }
  try {
    const url = new URL(text)
    const username = decodeURIComponent(url.username)
    const password = decodeURIComponent(url.password)
    url.username = ''
    url.password = ''
    url.hash = ''
    return { url, username: username || undefined, password: password || undefined }
  } catch {
    // The cause would repeat the credentials.
    throw new BlockError('EINVAL', `'${shown}' is not a URL`)
  }
}
