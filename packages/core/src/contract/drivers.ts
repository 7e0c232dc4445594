/**
 * Types of options by declaration merging. A driver package adds an explicit interface:
 *
 *     declare module '@diskgraph/core/driver' {
 *       interface BlockDrivers { raw: { open: RawOptions; create: RawCreateOptions } }
 *     }
 *
 * so that `graph.add({ driver: 'raw', … })` is checked at every depth by which packages are imported.
 */

/** The drivers whose packages are imported; merged by those packages. */
// biome-ignore lint/suspicious/noEmptyInterface: merged by driver packages
export interface BlockDrivers {}

/** Options that every node has, whatever its driver. */
export interface BaseOptions {
  /** Name to find the node by; generated (`#block001`) when left out. */
  nodeName?: string
  /** Default false, and true for backing files. */
  readOnly?: boolean
  /** Open read-only where writing is not possible, rather than fail. Default: true when `readOnly` is left out. */
  autoReadOnly?: boolean
  /** Share everything with other users of a read-only image. */
  forceShare?: boolean
  /** `unmap` passes discards on, `ignore` (default) drops them. */
  discard?: 'ignore' | 'unmap'
  /** Writes of zeroes become `writeZeroes` (`on`), which may deallocate (`unmap`; needs `discard: 'unmap'`). */
  detectZeroes?: 'off' | 'on' | 'unmap'
  cache?: {
    /** Bypass the host's page cache. */
    direct?: boolean
    /** Flushes are not passed on. */
    noFlush?: boolean
  }
}

/** Definition of a node: its driver, that driver's options, and the base options. */
export type NodeOptions = {
  [Name in keyof BlockDrivers]: { driver: Name } & BaseOptions &
    (BlockDrivers[Name] extends { open: infer Open } ? Open : unknown)
}[keyof BlockDrivers]

/** The options of a driver that are children. */
type ChildNames<Open> = {
  [Name in keyof Open]-?: Child extends Exclude<Open[Name], undefined> ? Name : never
}[keyof Open]

/** Definition of a filter that is put over a node, which becomes the child that it shows: that one is left out. */
export type FilterOptions = {
  [Name in keyof BlockDrivers]: { driver: Name } & BaseOptions &
    (BlockDrivers[Name] extends { open: infer Open }
      ? Omit<Open, ChildNames<Open>> & Partial<Pick<Open, ChildNames<Open>>>
      : unknown)
}[keyof BlockDrivers]

/** A child option: a definition, or the name of a node of the graph. */
export type Child = NodeOptions | string

/** A child that may be missing: null for none. */
export type OptionalChild = Child | null

/** Settings of a new image: its driver, that driver's create options, and the storage to write into. */
export type CreateOptions = {
  [Name in keyof BlockDrivers]: BlockDrivers[Name] extends { create: infer Create } ? { driver: Name } & Create : never
}[keyof BlockDrivers]
