/** What a driver brings to `npm run reliability`: a file `test/reliability.ts` in its package that exports `subject`. */
import type { DriverDescriptor } from '@diskgraph/core/driver'
import type { GuestKind } from './crash/workload.ts'
import type { StepKind } from './differential/steps.ts'
import type { FieldList } from './mutation/mutations.ts'
import type { PagedFile } from './paged-file.ts'

/** One way to make an image, in our words and in qemu-img's, and what is done to it. */
export interface ReliabilityVariant {
  readonly name: string
  readonly createOptions: Readonly<Record<string, unknown>>
  readonly qemuCreateOptions: string
  readonly cluster: number
  /** Operations of a guest before a crash, beside the usual ones. */
  readonly guest: Readonly<Partial<Record<GuestKind, number>>>
  /** Steps beside qemu-io, beside the usual ones. */
  readonly steps: Readonly<Partial<Record<StepKind, number>>>
  /** The child that is the backing file in crash tests. */
  readonly backing?: string
  /** Size of the disk in crash tests. */
  readonly size: number
}

/** How images of a driver are damaged. */
export interface ReliabilityMutations {
  /** The module that calls `serveMutations`. */
  readonly child: URL
  readonly fields: FieldList
  /** Images of the real tools, beside those of the driver. */
  theirImages?(): Promise<PagedFile[]>
}

/** See the top of the file. */
export interface ReliabilitySubject {
  readonly driver: DriverDescriptor
  /** The name of the format in QEMU's tools. */
  readonly format: string
  readonly variants: readonly ReliabilityVariant[]
  /** `qemu-img check` knows the format: it judges images after crashes and faults. */
  readonly checked: boolean
  /** `map` is compared with the real tools'. Default true. */
  readonly compareMap?: boolean
  /** Whether an image is marked as one that needs a repair at the next open. */
  isDirty?(image: PagedFile): boolean
  /** Left out: there is nothing to damage. */
  readonly mutations?: ReliabilityMutations
}
