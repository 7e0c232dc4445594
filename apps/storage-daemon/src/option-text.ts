/** Values of options that are JSON or a list `name=value,name.inner=value`. */
import { parseKeyval } from '@diskgraph/qapi'
import { JsonStream } from '@diskgraph/qmp'
import { StartError } from './failure.ts'

/** Whether `text` is no JSON, so that its values are texts. */
export function isText(text: string): boolean {
  return !text.startsWith('{')
}

/** The options that `text` is: JSON, or a list of names and values, whose first may be the value of `implied` alone. */
export function readOptions(text: string, implied?: string): Record<string, unknown> {
  return isText(text) ? parseKeyval(text, implied) : parseJson(text)
}

function parseJson(text: string): Record<string, unknown> {
  let result: unknown
  let failure: string | undefined = 'JSON parse error, premature EOI'
  const json = new JsonStream({
    value: (value) => {
      result = value
      failure = undefined
    },
    failure: (message) => {
      failure = message
    },
  })
  json.feed(Buffer.from(text))
  json.end()
  if (failure !== undefined) throw new StartError(failure)
  return result as Record<string, unknown>
}
