/** What a driver brings to `npm run reliability`: a file `test/reliability.ts` in its package that exports `subject`. */
import type { DriverDescriptor } from '@diskgraph/core/driver'
import type { CrashJudge } from './crash/crash-test.ts'
import type { GuestKind } from './crash/workload.ts'
import type { StepKind } from './differential/steps.ts'
import type { FieldList } from './mutation/mutations.ts'
import type { PagedFile } from './paged-file.ts'
import type { TempFolder } from './tools.node.ts'

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
  readonly fields: FieldList
  /** Images beside those that the driver makes of the variants. */
  images?(): Promise<PagedFile[]>
  /** Images of the real tools. */
  theirImages?(): Promise<PagedFile[]>
  /** What opens an image, besides its file. */
  readonly options?: Readonly<Record<string, unknown>>
  /** Secret objects by id, which the options name. */
  readonly secrets?: Readonly<Record<string, string>>
}

/** See the top of the file. */
export interface ReliabilitySubject {
  readonly driver: DriverDescriptor
  /** The name of the format in QEMU's tools. */
  readonly format: string
  readonly variants: readonly ReliabilityVariant[]
  /** `qemu-img check` knows the format: it judges images after faults, after differential runs, and, without a judge of the format's own, after crashes. */
  readonly checked: boolean
  /** A judge of images after crashes, which asks the real tools. */
  judge?(folder: TempFolder): CrashJudge
  /** QEMU's tools do not know the format: nothing runs beside them. */
  readonly unknownToQemu?: boolean
  /** `map` is compared with the real tools'. Default true. */
  readonly compareMap?: boolean
  /** Whether an image is marked as one that needs a repair at the next open. */
  isDirty?(image: PagedFile): boolean
  /** Left out: there is nothing to damage. */
  readonly mutations?: ReliabilityMutations
}
