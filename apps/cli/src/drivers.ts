/** The drivers that the tools use: those that come with them, and those that the user has enabled. */

import { type DriverDescriptor, isBlockError, type LazyDriver } from '@diskgraph/core'
import type { Terminal } from '@diskgraph/tools'
import { drivers } from './driver-table.ts'

/** Names that people use for formats. */
export const formatAliases: Readonly<Record<string, string>> = { vhd: 'vpc', img: 'raw', hdd: 'parallels' }

/** The drivers that come with the tools and those that the user has enabled, which go before others of their name. */
export function usableDrivers({ enabled = [] }: Pick<Terminal, 'enabled'>): (LazyDriver | DriverDescriptor)[] {
  const names = new Set(enabled.map(({ name }) => name))
  return [...drivers.filter(({ name }) => !names.has(name)), ...enabled]
}

/** Whether `error` says that there is no driver of the name that was asked for. */
export function isUnknownDriver(error: unknown): boolean {
  return isBlockError(error) && error.message.startsWith('Unknown driver ')
}
