import { toBlockError } from './errors.ts'
import { mustBeFunction } from './inspection.ts'

/** Who hears of events of one kind. A listener that throws does not disturb the others: it is warned of. */
export class Listeners<Event> {
  readonly #listeners = new Set<(event: Event) => void>()
  readonly #warn: (message: string) => void

  constructor(warn: (message: string) => void) {
    this.#warn = warn
  }

  /** The result takes the listener away again. */
  add(listener: (event: Event) => void): () => void {
    mustBeFunction('a listener', listener)
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  tell(event: Event, name: string): void {
    for (const listener of this.#listeners) {
      try {
        listener(event)
      } catch (error) {
        this.#warn(`a listener of ${name} failed: ${toBlockError(error).message}`)
      }
    }
  }
}
