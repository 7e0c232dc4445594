/** The ends of preparations. */
import type { Prepared } from '../contract/contract.ts'
import { toBlockError } from '../errors.ts'

/**
 * Commits or aborts all of `prepared`, the last one first. Neither can fail by the contract: what is thrown all the same
 * is warned of, for the others must not be left half way.
 */
export function endPrepared(
  prepared: readonly Prepared[],
  end: 'commit' | 'abort',
  warn: (message: string) => void,
): void {
  for (const one of [...prepared].reverse()) {
    try {
      one[end]()
    } catch (error) {
      warn(`the ${end} of a change that was prepared failed: ${toBlockError(error).message}`)
    }
  }
}
