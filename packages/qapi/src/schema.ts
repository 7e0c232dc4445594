/** The schema of one program: the static tables and the types of its drivers. */
import type { DriverDescriptor } from '@diskgraph/core/driver'
import { DriverTypes } from './driver-types.ts'
import type { CommandDefinition, Members, TypeDefinition } from './notation.ts'
import { commands, events, types } from './tables.ts'

/** Commands, events and types by name; those of drivers once they have been added. */
export class Schema {
  readonly #drivers: DriverTypes

  /** `driverNames` tells what the program has drivers for, before they are loaded. */
  constructor(driverNames: () => Iterable<string> = () => []) {
    this.#drivers = new DriverTypes(driverNames)
  }

  /** Makes the options of `driver` known. */
  addDriver(driver: DriverDescriptor): void {
    this.#drivers.add(driver)
  }

  /** The command called `name`; undefined if there is none. */
  command(name: string): CommandDefinition | undefined {
    return own<CommandDefinition>(commands, name)
  }

  /** The data of the event called `name`; undefined if there is none. */
  event(name: string): Members | undefined {
    return own<Members>(events, name)
  }

  /** The type called `name`; undefined for one that needs no definition, or is none. */
  type(name: string): TypeDefinition | undefined {
    return own<TypeDefinition>(types, name) ?? this.#drivers.get(name)
  }

  get commandNames(): readonly string[] {
    return Object.keys(commands)
  }

  get eventNames(): readonly string[] {
    return Object.keys(events)
  }
}

function own<T>(table: { readonly [name: string]: T }, name: string): T | undefined {
  return Object.hasOwn(table, name) ? table[name] : undefined
}
