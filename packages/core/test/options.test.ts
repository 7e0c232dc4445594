import { expect, test } from 'vitest'
import {
  decodeUrlPart,
  encodeUrlPart,
  jsonFilename,
  type OptionSchemas,
  parseSize,
  portNumber,
  validateOptions,
  withoutCredentials,
} from '../src/driver.ts'
import {
  fromQapi,
  inQapiSpelling,
  nearestName,
  parseJsonFilename,
  protocolOf,
  resolveReference,
  toCamelCase,
  toKebabCase,
  toQapi,
  toSnakeCase,
} from '../src/internal.ts'

const schemas: OptionSchemas = {
  size: { type: 'integer', size: true, minimum: 0, required: true, description: 'size' },
  lazyRefcounts: { type: 'boolean', default: false, description: 'lazy' },
  mode: { type: 'enum', values: ['off', 'metadata'], default: 'off', description: 'mode' },
  ratio: { type: 'number', maximum: 1, description: 'ratio' },
  rules: {
    type: 'list',
    items: {
      type: 'object',
      properties: { event: { type: 'string', required: true, description: 'event' } },
      description: 'rule',
    },
    description: 'rules',
  },
  overlap: {
    type: 'alternate',
    of: [
      { type: 'enum', values: ['none', 'all'], description: '' },
      { type: 'object', properties: { template: { type: 'string', description: '' } }, description: '' },
    ],
    description: 'alternate',
  },
}

test('defaults are filled in and text becomes numbers and booleans', () => {
  expect({ ...validateOptions(schemas, { size: '64k', lazyRefcounts: 'on' }) }).toEqual({
    size: 65536,
    lazyRefcounts: true,
    mode: 'off',
  })
})

test.each([
  [{}, "A value is required for option 'size'"],
  [{ size: -1 }, "Parameter 'size' must be at least 0"],
  [{ size: 1.5 }, "Parameter 'size' expects a whole number"],
  [{ size: 'x' }, "Parameter 'size' expects a non-negative number"],
  [{ size: 1, mode: 'of' }, "Parameter 'mode' expects one of: off, metadata"],
  [{ size: 1, ratio: 2 }, "Parameter 'ratio' must be at most 1"],
  [{ size: 1, lazyRefcounts: 3 }, "Parameter 'lazyRefcounts' expects 'on' or 'off'"],
  [{ size: 1, rules: [{ event: 'a' }, {}] }, "A value is required for option 'rules.1.event'"],
  [{ size: 1, rules: 7 }, "Parameter 'rules' expects a list"],
  [{ size: 1, sise: 2 }, "Invalid parameter 'sise'"],
  [{ size: 1, constructor: 2 }, "Invalid parameter 'constructor'"],
  [JSON.parse('{"size":1,"__proto__":2}'), "Invalid parameter '__proto__'"],
])('options %j are refused: %s', (options, message) => {
  expect(() => validateOptions(schemas, options)).toThrow(message)
})

test('an alternate takes any of its types', () => {
  expect(validateOptions(schemas, { size: 1, overlap: 'all' }).overlap).toBe('all')
  expect(validateOptions(schemas, { size: 1, overlap: { template: 'x' } }).overlap).toMatchObject({ template: 'x' })
  expect(() => validateOptions(schemas, { size: 1, overlap: 3 })).toThrow("Parameter 'overlap'")
})

test.each([
  ['512', 512],
  ['64k', 65536],
  ['1.5G', 1.5 * 2 ** 30],
  ['0x200', 512],
  ['7E', 7 * 2 ** 60],
  ['1b', 1],
  ['', undefined],
  ['-1', undefined],
  ['1.5', undefined],
  ['12Q', undefined],
  ['99E', undefined],
])('parseSize(%j) is %s', (text, size) => {
  expect(parseSize(text)).toBe(size)
})

test.each([
  ["Parameter 'file.dropCache' expects a number", "Parameter 'file.drop-cache' expects a number"],
  ["A value is required for option 'nodeName'", "A value is required for option 'node-name'"],
  ["driver 'aB' does not support the option 'l2-Cache'", "driver 'aB' does not support the option 'l2Cache'"],
  ["did you mean 'l2CacheSize'?", "did you mean 'l2-cache-size'?"],
  ["Parameter 'nodeName' is unexpected", "Parameter 'nodeName' is unexpected"],
])('%s is, in the spelling of command lines, %s', (message, spelled) => {
  expect(inQapiSpelling(message)).toBe(spelled)
})

test('names convert between the three spellings', () => {
  expect(toCamelCase('l2-cache-size')).toBe('l2CacheSize')
  expect(toCamelCase('lazy_refcounts')).toBe('lazyRefcounts')
  expect(toKebabCase('l2CacheEntrySize')).toBe('l2-cache-entry-size')
  expect(toSnakeCase('refcountBits')).toBe('refcount_bits')
})

test('a near name is suggested, a far one is not', () => {
  expect(nearestName('conver', ['convert', 'compare'])).toBe('convert')
  expect(nearestName('xyzzy', ['convert', 'compare'])).toBeUndefined()
  expect(nearestName('a'.repeat(100_000), ['convert'])).toBeUndefined()
})

test('dotted keys and indexes become objects and lists', () => {
  const options = {
    driver: 'quorum',
    'children.0.file.filename': 'a',
    'children.1': { driver: 'raw' },
    'vote-threshold': 2,
  }
  expect(fromQapi(options)).toEqual({
    driver: 'quorum',
    children: [{ file: { filename: 'a' } }, { driver: 'raw' }],
    voteThreshold: 2,
  })
})

test('a dotted key may not go through a scalar, and no key reaches a prototype', () => {
  expect(() => fromQapi({ file: 'a', 'file.filename': 'b' })).toThrow('Cannot mix scalar')
  fromQapi(JSON.parse('{"__proto__.polluted": true, "constructor.prototype.polluted": true}'))
  expect(({} as { polluted?: boolean }).polluted).toBeUndefined()
})

test('json: names go there and back', () => {
  const options = { driver: 'raw', size: 512, file: { driver: 'file', filename: 'x' } }
  const name = jsonFilename(options)
  expect(name).toBe('json:{"driver": "raw", "size": 512, "file": {"driver": "file", "filename": "x"}}')
  expect(parseJsonFilename(name)).toEqual(options)
  expect(toQapi({ nodeName: 'a', list: [{ fooBar: 1 }] })).toEqual({ 'node-name': 'a', list: [{ 'foo-bar': 1 }] })
  expect(() => parseJsonFilename('json:[1]')).toThrow('Invalid JSON object given')
  expect(() => parseJsonFilename('json:{')).toThrow('Could not parse the JSON options')
})

test('paths, drive letters and protocols are told apart', () => {
  expect(protocolOf('http://host/a')).toBe('http')
  expect(protocolOf('blkdebug:conf:a')).toBe('blkdebug')
  expect(protocolOf('./a:b')).toBeUndefined()
  expect(protocolOf('C:\\disk.img')).toBeUndefined()
  expect(protocolOf('disk.img')).toBeUndefined()
})

test('backing names are relative to the image that names them', () => {
  expect(resolveReference('/images/top.qcow2', 'base.qcow2')).toBe('/images/base.qcow2')
  expect(resolveReference('top.qcow2', 'base.qcow2')).toBe('base.qcow2')
  expect(resolveReference('dir/top.qcow2', '/abs')).toBe('/abs')
  expect(resolveReference('http://host/dir/top.qcow2?x=/y', 'base')).toBe('http://host/dir/base')
  expect(resolveReference('dir/top', 'http://host/base')).toBe('http://host/base')
  expect(() => resolveReference('json:{}', 'base')).toThrow('Cannot use relative backing file names')
})

test('credentials are taken out of URLs', () => {
  expect(withoutCredentials('http://user:secret@host/a@b?c=d@e')).toBe('http://host/a@b?c=d@e')
  expect(withoutCredentials('json:{"url": "https://u:p@h/x"}')).toBe('json:{"url": "https://h/x"}')
  expect(withoutCredentials('a@b')).toBe('a@b')
})

test('parts of URLs are decoded, and encoded so that they end nothing', () => {
  expect(decodeUrlPart('a%20b')).toBe('a b')
  expect(() => decodeUrlPart('%e0')).toThrow('No valid URL specified')
  expect(encodeUrlPart('/a b?c#d%e@f')).toBe('/a%20b%3Fc%23d%25e@f')
})

test.each([
  ['0', 0],
  ['65535', 65535],
  ['nbd', 10809],
])('port %s is %i', (text, port) => {
  expect(portNumber('h', text, { nbd: 10809 })).toBe(port)
})

test.each(['', '65536', '-1', '1e3', '0x10', ' 1', 'ssh', 'constructor'])('port %j is none', (text) => {
  expect(() => portNumber('h', text, { nbd: 10809 })).toThrow(`address resolution failed for h:${text}: Servname`)
})
