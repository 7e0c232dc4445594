/** Options with variants, null, QAPI's own spellings. */
import { type OptionSchemas, validateOptions } from '@diskgraph/core/driver'
import { expect, it } from 'vitest'

const schemas: OptionSchemas = {
  encrypt: {
    type: 'union',
    tag: 'format',
    description: 'encryption',
    variants: {
      aes: { keySecret: { type: 'string', required: true, description: 'secret' } },
      luks: {
        keySecret: { type: 'string', description: 'secret' },
        iterTime: { type: 'integer', minimum: 1, default: 2000, description: 'time' },
      },
    },
  },
  injectError: { type: 'boolean', qapi: 'inject_error', description: 'errors' },
  bitmap: {
    type: 'alternate',
    description: 'bitmap or none',
    of: [
      { type: 'null', description: 'none' },
      { type: 'integer', description: 'number' },
    ],
  },
}

it('takes the options of the variant that the tag names, with its defaults', () => {
  const { encrypt } = validateOptions(schemas, { encrypt: { format: 'luks', keySecret: 's' } })
  expect(encrypt).toEqual({ format: 'luks', keySecret: 's', iterTime: 2000 })
})

it.each([
  [{ encrypt: {} }, "A value is required for option 'encrypt.format'"],
  [{ encrypt: { format: 'des' } }, "Parameter 'encrypt.format' expects one of: aes, luks"],
  [{ encrypt: { format: 'constructor' } }, "Parameter 'encrypt.format' expects one of: aes, luks"],
  [{ encrypt: { format: 'aes' } }, "A value is required for option 'encrypt.keySecret'"],
  [{ encrypt: { format: 'aes', iterTime: 5 } }, "Invalid parameter 'encrypt.iterTime'"],
  [{ encrypt: { format: 'luks', iterTime: 0 } }, "Parameter 'encrypt.iterTime' must be at least 1"],
  [{ encrypt: 'luks' }, "Parameter 'encrypt' expects an object"],
])('names the path of what is wrong in %j', (input, message) => {
  expect(() => validateOptions(schemas, input)).toThrow(message)
})

it('knows a name in the spelling that QAPI has for it', () => {
  expect(validateOptions(schemas, { inject_error: 'on' }).injectError).toBe(true)
})

it('takes null where the schema has it, and nowhere else', () => {
  expect(validateOptions(schemas, { bitmap: null }).bitmap).toBeNull()
  expect(() => validateOptions(schemas, { injectError: null })).toThrow("Parameter 'injectError' expects 'on' or 'off'")
})
