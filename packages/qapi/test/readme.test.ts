import { isBlockError } from '@diskgraph/core'
import { raw } from '@diskgraph/driver-raw'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { parseKeyval, Schema, validateArguments } from '@diskgraph/qapi'
import { expect, it, vi } from 'vitest'

it('does what the README shows', () => {
  mustShowExample(import.meta.url)
  const log = vi.spyOn(console, 'log').mockImplementation(() => undefined)
  const schema = new Schema(() => ['raw'])
  schema.addDriver(raw)
  const args = parseKeyval('driver=raw,file=disk0,offset=1M,sise=4k')
  try {
    validateArguments(schema, 'blockdev-add', args, { text: true })
  } catch (error) {
    if (isBlockError(error)) console.log(error.message) // Parameter 'sise' is unexpected
  }
  expect(log.mock.calls).toEqual([["Parameter 'sise' is unexpected"]])
  log.mockRestore()
})
