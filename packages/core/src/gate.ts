/**
 * The gate for references that stand inside images. An image may come from anyone, so by default it may name only
 * a neighbour: a plain relative path below its own directory, with the format recorded. No protocol, no `json:`,
 * no absolute path; the file driver adds that symbolic links do not lead out and that it is a regular file.
 */
import type { ImageReference } from './contexts.ts'
import type { ReferenceVerdict } from './contract.ts'
import { protocolOf } from './filenames.ts'

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
  if (protocolOf(filename) !== undefined) return refuse('it names a protocol')
  if (filename.startsWith('/')) return refuse('it is an absolute path')
  if (filename.split('/').includes('..')) return refuse('it leads out of the directory of the image')
  if (format === undefined) return refuse('its format is not recorded in the image, and guessing it is not safe')
  return true
}

function refuse(reason: string): ReferenceVerdict {
  return { code: 'EACCES', reason }
}
