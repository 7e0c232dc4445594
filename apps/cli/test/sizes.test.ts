import { generalNumber, humanSize, readSize, sizeArgument, twoDecimals } from '@diskgraph/tools'
import { expect, test } from 'vitest'
import { capturedTerminal } from './captured-terminal.ts'

test('sizes are shown with three digits, and the next unit begins at 1000', () => {
  expect(humanSize(0)).toBe('0 B')
  expect(humanSize(512)).toBe('512 B')
  expect(humanSize(999)).toBe('999 B')
  expect(humanSize(1000)).toBe('0.977 KiB')
  expect(humanSize(200704)).toBe('196 KiB')
  expect(humanSize(64 * 2 ** 20)).toBe('64 MiB')
  expect(humanSize(1.5 * 2 ** 40)).toBe('1.5 TiB')
})

test('a number in the middle of two is rounded to the even one', () => {
  expect(humanSize(197120)).toBe('192 KiB')
  expect(generalNumber(193.5)).toBe('194')
  expect(twoDecimals(3.125)).toBe('3.12')
  expect(twoDecimals(100)).toBe('100.00')
})

test('sizes are read with suffixes, fractions and in hexadecimal', () => {
  expect(readSize('64k')).toBe(65536)
  expect(readSize('1.5M')).toBe(1572864)
  expect(readSize('0x200')).toBe(512)
  expect(readSize('x')).toBe('malformed')
  expect(readSize('-1')).toBe('malformed')
  expect(readSize('100000000000000000000')).toBe('range')
  expect(readSize('9E')).toBe('range')
})

test('a size out of the range of an argument says the range', () => {
  const terminal = capturedTerminal('dg-img')
  expect(() => sizeArgument('9E', 'image size', terminal)).toThrow(
    'Invalid image size specified. Must be between 0 and 9223372036854775807.',
  )
  expect(() => sizeArgument('3', 'depth', terminal, { minimum: 4, maximum: 8 })).toThrow('Must be between 4 and 8.')
})
