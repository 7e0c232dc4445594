/** Messages of failed opens: what was to be opened stands in front. */
import { BlockError, toBlockError } from '../errors.ts'
import { withoutCredentials } from './filenames.ts'

/** Runs `open`; a failure gets `Could not open 'name': ` before its message. */
export async function describingFailure<T>(name: string, open: () => Promise<T>): Promise<T> {
  try {
    return await open()
  } catch (error) {
    const failure = toBlockError(error)
    const prefix = `Could not open '${withoutCredentials(String(name))}': `
    if (failure.message.startsWith(prefix)) throw failure
    throw new BlockError(failure.code, prefix + failure.message, {
      cause: error,
      hint: failure.hint,
      node: failure.node,
    })
  }
}

/** How messages name what a definition opens: its innermost file name, or its driver. */
export function nameOfDefinition(options: Readonly<Record<string, unknown>>): string {
  let at: unknown = options
  while (typeof at === 'object' && at !== null) {
    const { filename, file, image, url } = at as Record<string, unknown>
    if (typeof filename === 'string') return filename
    if (typeof url === 'string') return url
    at = file ?? image
  }
  return typeof at === 'string' ? at : String(options?.driver ?? '')
}
