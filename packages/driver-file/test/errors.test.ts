import { constants } from 'node:os'
import { expect, it } from 'vitest'
import { fileError } from '../src/errors.ts'

it('takes the number of an error from its message where the runtime gives no code', () => {
  const error = new Error(`No room (os error ${constants.errno.ENOSPC})`)
  expect(fileError(error, 'cannot write')).toMatchObject({
    code: 'ENOSPC',
    message: 'cannot write: No space left on device',
    cause: error,
  })
})

it('takes a size that the runtime refuses for one that the system refuses', () => {
  const error = Object.assign(new RangeError('too much'), { code: 'ERR_OUT_OF_RANGE' })
  expect(fileError(error, 'cannot grow')).toMatchObject({ code: 'EFBIG', message: 'cannot grow: File too large' })
})

it('keeps the words of an error that is none of the system', () => {
  expect(fileError(new Error('odd'), 'cannot write')).toMatchObject({ code: 'EIO', message: 'cannot write: odd' })
})
