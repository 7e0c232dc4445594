/** Errors as QMP tells them: a class to branch on, and a text. */
import { BlockError, type ErrorCode, isBlockError } from '@diskgraph/core'
import { inQapiSpelling } from '@diskgraph/core/internal'

/** What a client may branch on. */
export type ErrorClass = 'GenericError' | 'CommandNotFound' | 'DeviceNotActive' | 'DeviceNotFound' | 'KVMMissingCap'

/** An error whose class is not `GenericError`. */
export class QmpError extends BlockError {
  readonly errorClass: ErrorClass

  constructor(errorClass: ErrorClass, message: string, code: ErrorCode = 'EINVAL') {
    super(code, message)
    this.name = 'QmpError'
    this.errorClass = errorClass
  }
}

/** The member `error` of an answer. */
export function errorMember(error: unknown): { readonly class: ErrorClass; readonly desc: string } {
  const text = error instanceof Error ? error.message : String(error)
  const desc = isBlockError(error) ? inQapiSpelling(text) : text
  return { class: error instanceof QmpError ? error.errorClass : 'GenericError', desc }
}
