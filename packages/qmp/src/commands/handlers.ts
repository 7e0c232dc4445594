/** The shape of command tables. */
import type { ArgumentsOf, CommandName, ReturnOf } from '@diskgraph/qapi'
import type { Client } from '../descriptors.ts'

/** Commands by name: what runs them. A command that gives nothing may give nothing. */
export type Handlers = {
  readonly [Name in CommandName]?: (args: ArgumentsOf<Name>, client: Client) => ResultOf<Name> | Promise<ResultOf<Name>>
}

type ResultOf<Name extends CommandName> = keyof ReturnOf<Name> extends never ? unknown : ReturnOf<Name>
