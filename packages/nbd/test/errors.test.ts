import { expect, test } from 'vitest'
import { codeOfWireError, wireErrorOf } from '../src/wire/errors.ts'

// The numbers of the protocol's section "Error values".
test.each([
  [1, 'EPERM'],
  [5, 'EIO'],
  [12, 'ENOMEM'],
  [22, 'EINVAL'],
  [28, 'ENOSPC'],
  [75, 'EOVERFLOW'],
  [95, 'ENOTSUP'],
  [108, 'ESHUTDOWN'],
] as const)('the error %i of the protocol is %s, both ways', (number, code) => {
  expect(codeOfWireError(number)).toBe(code)
  expect(wireErrorOf(code)).toBe(number)
})

test('other numbers are EINVAL', () => {
  expect(codeOfWireError(4711)).toBe('EINVAL')
})
