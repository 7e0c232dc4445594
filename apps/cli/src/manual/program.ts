import type { Command, CommandExample } from '../command.ts'
import type { Grammar } from '../command-line.ts'

/** A program as help, completion and manual pages describe it. */
export interface ProgramManual {
  readonly name: string
  /** A phrase for lists. */
  readonly summary: string
  /** What stands behind its name. */
  readonly usage: string
  /** Paragraphs for the manual page. */
  readonly about: readonly string[]
  /** Options in front of the command. */
  readonly options: Grammar
  /** Options that may stand anywhere. */
  readonly anywhere?: Grammar
  readonly commands: Readonly<Record<string, Command>>
  /** Commands that are typed once the program runs. */
  readonly typed?: readonly TypedCommand[]
  /** Examples of a program without commands. */
  readonly examples?: readonly CommandExample[]
  /** Takes short names of formats, too. */
  readonly forPeople: boolean
}

/** See {@link ProgramManual.typed}. */
export interface TypedCommand {
  readonly name: string
  readonly alias?: string
  readonly synopsis?: string
  readonly summary: string
  readonly help?: string
}
