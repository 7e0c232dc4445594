/**
 * The gate for references that stand inside images. An image may come from anyone, so by default it may name only
 * a neighbour: a plain path below its own directory, with the format recorded. No protocol, no `json:`, no absolute
 * path but one that begins with the image's own directory; the file driver adds that symbolic links do not lead out and that it is a regular file.
 *
 * Of a file, backslashes count as slashes, as they do on Windows. Behind a URL nothing checks again, and names are
 * not what they seem: the transport takes `%2e%2e` and `.\t.` for `..` and a backslash for a slash, and a server may
 * decode once more. So a name there must be free of such characters, and the URL that it comes to, parsed as the
 * transport parses it, must lie below the directory of the image.
 */
import type { ImageReference } from '../contract/contexts.ts'
import type { ReferenceVerdict } from '../contract/contract.ts'
import { directoryOf, isUrl, protocolOf, resolveReference } from '../options/filenames.ts'

/** What a graph does with references inside images: only neighbours (default), all, none, or what a function says. */
export type ReferencePolicy =
  | 'neighbours'
  | 'allow'
  | 'deny'
  | ((reference: ImageReference & { readonly image: string; readonly child: string }) => ReferenceVerdict)

/** The verdict of `policy` about a reference in the image called `image`. */
export function judgeReference(
  policy: ReferencePolicy,
  image: string,
  child: string,
  reference: ImageReference,
): ReferenceVerdict {
  if (typeof policy === 'function') return policy({ ...reference, image, child })
  if (policy === 'allow') return true
  if (policy === 'deny') return refuse('references inside images are not followed')
  const { filename, format } = reference
  if (filename === '' || filename.includes('\0')) return refuse('it is no file name')
  if (protocolOf(filename) !== undefined) return refuse('it names a protocol')
  if (/^(?:[/\\]|[A-Za-z]:)/.test(filename) && !beginsWithDirectory(image, filename)) {
    return refuse('it is an absolute path')
  }
  if (leadsUp(filename) || (isUrlLike(image) && !staysBelow(image, filename))) {
    return refuse('it leads out of the directory of the image')
  }
  if (format === undefined) return refuse('its format is not recorded in the image, and guessing it is not safe')
  return true
}

/** Whether an absolute path is a longer way of saying a relative one. */
function beginsWithDirectory(image: string, filename: string): boolean {
  const directory = directoryOf(image)
  return image.startsWith('/') && directory.length > 1 && filename.startsWith(directory)
}

function leadsUp(filename: string): boolean {
  return filename.split(/[/\\]/).includes('..')
}

/** As {@link isUrl}, and what the transport takes for one. */
function isUrlLike(image: string): boolean {
  return isUrl(image.replaceAll('\\', '/'))
}

/** How often a name is decoded to see what it may turn out to be. */
const decodings = 3

/** Whether `reference` in the image behind the URL `image` stands for a file below the directory of the image. */
function staysBelow(image: string, reference: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: URL parsers drop some of these
  if (/[\x00-\x1f\x7f\\?#]/.test(reference) || reference !== reference.trim()) return false
  let decoded = reference
  for (let i = 0; i < decodings; i++) {
    try {
      decoded = decodeURIComponent(decoded)
    } catch {
      break
    }
    // biome-ignore lint/suspicious/noControlCharactersInRegex: no file has such a name for a good reason
    if (leadsUp(decoded) || /[\x00-\x1f\x7f]/.test(decoded)) return false
  }
  try {
    const base = new URL(image)
    const target = new URL(resolveReference(image, reference))
    const directory = base.pathname.slice(0, base.pathname.lastIndexOf('/') + 1)
    const sameHost = target.protocol === base.protocol && target.host === base.host
    const sameUser = target.username === base.username && target.password === base.password
    const below = target.pathname.startsWith(directory) && target.pathname.length > directory.length
    return sameHost && sameUser && below && !target.pathname.endsWith('/')
  } catch {
    return false
  }
}

function refuse(reason: string): ReferenceVerdict {
  return { code: 'EACCES', reason }
}

/** The directory that holds a file. */
export function containingDirectory(filename: string): string {
  const directory = directoryOf(filename)
  return directory === '' ? '.' : directory
}
