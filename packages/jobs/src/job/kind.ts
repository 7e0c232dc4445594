/** What a kind of job does, of which `J` is the class of all. Only `run` is needed. */
export interface JobKind<J> {
  /** What holds the job before its first piece of work, which it says by being paused. */
  heldUntil?(): Promise<unknown>
  /** The work, until it can take effect. */
  run(job: J): Promise<void>
  /** Lets it take effect, as far as that can fail. */
  prepare?(job: J): Promise<void>
  /** It has taken effect (true), or it has failed or was cancelled. Lets go of everything; must not fail. */
  end(job: J, success: boolean): Promise<void>
  /** `complete` was asked for. */
  complete?(job: J): void
  /** Ends in a way that is no failure; false: that cannot be, now. */
  cancelSoftly?(job: J): boolean
  /** Changes options of the job. */
  change?(options: Readonly<Record<string, unknown>>): void
}
