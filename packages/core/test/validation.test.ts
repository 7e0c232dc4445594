import { describe, expect, it } from 'vitest'
import { type OptionSchema, validateOptions } from '../src/driver.ts'
import { optional, validateValue } from '../src/options/validate.ts'

const description = ''

/** What `value` becomes as `schema` says, or the message of the refusal. */
function judge(schema: OptionSchema, value: unknown): unknown {
  try {
    return validateValue(schema, value, 'x')
  } catch (error) {
    expect(error).toMatchObject({ code: 'EINVAL' })
    return (error as Error).message
  }
}

describe('a value', () => {
  it.each<[OptionSchema, unknown, unknown]>([
    [{ type: 'boolean', description }, true, true],
    [{ type: 'boolean', description }, 1, "Parameter 'x' expects 'on' or 'off'"],
    [{ type: 'string', description }, 'a', 'a'],
    [{ type: 'string', description }, 5, '5'],
    [{ type: 'string', description }, true, "Parameter 'x' expects a string"],
    [{ type: 'enum', values: ['a', 'b'], description }, 'b', 'b'],
    [{ type: 'enum', values: ['a', 'b'], description }, 5, "Parameter 'x' expects one of: a, b"],
    [{ type: 'number', description }, 1.5, 1.5],
    [{ type: 'number', description }, '1.5', 1.5],
    [{ type: 'number', description }, '+0x10', "Parameter 'x' expects a number"],
    [{ type: 'number', description }, '-7', -7],
    [{ type: 'number', description }, '0x10', 16],
    [{ type: 'number', description }, '1.', "Parameter 'x' expects a number"],
    [{ type: 'number', description }, '.5', "Parameter 'x' expects a number"],
    [{ type: 'number', description }, '5x', "Parameter 'x' expects a number"],
    [{ type: 'number', description }, 'x5', "Parameter 'x' expects a number"],
    [{ type: 'number', description }, '', "Parameter 'x' expects a number"],
    [{ type: 'number', description }, null, "Parameter 'x' expects a number"],
    [{ type: 'number', description }, Number.NaN, "Parameter 'x' expects a number"],
    [{ type: 'number', description }, Infinity, "Parameter 'x' expects a number"],
    [{ type: 'integer', description }, 1.5, "Parameter 'x' expects a whole number"],
    [{ type: 'integer', description }, '64k', "Parameter 'x' expects a number"],
    [{ type: 'integer', size: true, description }, '64k', 65536],
    [{ type: 'integer', minimum: 3, maximum: 5, description }, 3, 3],
    [{ type: 'integer', minimum: 3, maximum: 5, description }, 5, 5],
    [{ type: 'integer', minimum: 3, maximum: 5, description }, 2, "Parameter 'x' must be at least 3"],
    [{ type: 'integer', minimum: 3, maximum: 5, description }, 6, "Parameter 'x' must be at most 5"],
    [{ type: 'object', properties: {}, description }, [], "Parameter 'x' expects an object"],
    [{ type: 'object', properties: {}, description }, { a: 1 }, "Invalid parameter 'x.a'"],
    [{ type: 'list', items: { type: 'boolean', description }, description }, ['on', 'no'], [true, false]],
    [{ type: 'list', items: { type: 'boolean', description }, description }, {}, "Parameter 'x' expects a list"],
    [{ type: 'list', items: { type: 'null', description }, description }, [1], "Parameter 'x.0' expects null"],
    [{ type: 'null', description }, null, null],
    [{ type: 'null', description }, 0, "Parameter 'x' expects null"],
    [{ type: 'value', check: (value) => value === 7, expects: 'a seven', description }, 7, 7],
    [
      { type: 'value', check: (value) => value === 7, expects: 'a seven', description },
      8,
      "Parameter 'x' expects a seven",
    ],
    [{ type: 'child', role: 'data', description }, 'anything', 'anything'],
    [{ type: 'children', role: 'data', description }, [1], [1]],
  ])('of %j: %j gives %j', (schema, value, expected) => {
    expect(judge(schema, value)).toEqual(expected)
  })

  it('that is a boolean has four words for each of the two', () => {
    const words = (list: string[]) => list.map((word) => judge({ type: 'boolean', description }, word))
    expect(words(['on', 'yes', 'true', 'y'])).toEqual([true, true, true, true])
    expect(words(['off', 'no', 'false', 'n'])).toEqual([false, false, false, false])
    expect(judge({ type: 'boolean', description }, '')).toBe("Parameter 'x' expects 'on' or 'off'")
  })

  it('that is nearly right gets a suggestion', () => {
    const refusal = (work: () => unknown) => {
      try {
        return work()
      } catch (error) {
        return error
      }
    }
    const mode: OptionSchema = { type: 'enum', values: ['metadata', 'off'], description }
    expect(refusal(() => validateValue(mode, 'metadat', 'x'))).toMatchObject({ hint: "did you mean 'metadata'?" })
    expect(refusal(() => validateValue(mode, 'elephant', 'x'))).toMatchObject({ hint: undefined })
    expect(refusal(() => validateOptions({ mode }, { mod: 1 }))).toMatchObject({ hint: "did you mean 'mode'?" })
    expect(refusal(() => validateOptions({ mode }, { elephant: 1 }))).toMatchObject({ hint: undefined })
    const size: OptionSchema = { type: 'integer', size: true, description }
    expect(refusal(() => validateValue(size, 'x', 'x'))).toMatchObject({ hint: expect.stringContaining('suffix k, M') })
  })
})

describe('a union', () => {
  const union: OptionSchema = {
    type: 'union',
    tag: 'kind',
    variants: { a: { size: { type: 'integer', required: true, description } }, b: {} },
    description,
  }

  it('has the options of its variant', () => {
    expect(judge(union, { kind: 'a', size: '5' })).toEqual({ kind: 'a', size: 5 })
    expect(judge(union, { kind: 'b' })).toEqual({ kind: 'b' })
    expect(judge(union, { kind: 'a' })).toBe("A value is required for option 'x.size'")
    expect(judge(union, { kind: 'b', size: 5 })).toBe("Invalid parameter 'x.size'")
    expect(judge(union, { kind: 'c' })).toBe("Parameter 'x.kind' expects one of: a, b")
    expect(judge(union, {})).toBe("A value is required for option 'x.kind'")
    expect(judge(union, 5)).toBe("Parameter 'x' expects an object")
  })
})

describe('options', () => {
  it('may have other names, and each is given once', () => {
    const schemas = {
      noFlush: { type: 'boolean', qapi: 'no-flush', aliases: ['nf', 'cache-nf'], description },
    } as const
    for (const name of ['noFlush', 'no-flush', 'nf', 'cache-nf']) {
      expect({ ...validateOptions(schemas, { [name]: true }) }).toEqual({ noFlush: true })
    }
    expect(() => validateOptions(schemas, { noFlush: true, nf: true })).toThrow("option 'nf' is given twice")
  })

  it('that are undefined are not given, and defaults are left out where they are not wanted', () => {
    const schemas = {
      a: { type: 'integer', default: 1, description },
      b: { type: 'integer', default: 0, description },
      lastOne: { type: 'integer', required: true, description },
    } as const
    expect({ ...validateOptions(schemas, { a: undefined, lastOne: 3 }) }).toEqual({ a: 1, b: 0, lastOne: 3 })
    expect({ ...validateOptions(schemas, { lastOne: 3 }, { withoutDefaults: true }) }).toEqual({ lastOne: 3 })
    const needed = "A value is required for option 'top.lastOne'"
    expect(() => validateOptions(schemas, {}, { path: 'top' })).toThrow(needed)
    expect(() => validateOptions(schemas, {}, { path: '' })).toThrow("A value is required for option 'lastOne'")
    expect({ ...validateOptions(optional(schemas), {}, { withoutDefaults: true }) }).toEqual({})
    expect(Object.getPrototypeOf(validateOptions({}, {}))).toBeNull()
  })

  it('that nobody knows are refused in the words of whoever asks, by their path', () => {
    const schemas = { inner: { type: 'object', properties: {}, description } } as const
    const unknown = (name: string) => `no ${name} here`
    expect(() => validateOptions(schemas, { someThing: 1 }, { unknown })).toThrow('no someThing here')
    expect(() => validateOptions(schemas, { inner: { someThing: 1 } }, { unknown })).toThrow('no inner.someThing here')
  })
})
