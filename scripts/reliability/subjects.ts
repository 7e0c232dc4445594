/** The drivers that bring something to be tested: each package with a file `test/reliability.ts`. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { ReliabilitySubject, ReliabilityVariant } from '@diskgraph/driver-testkit'

const packages = fileURLToPath(new URL('../../packages/', import.meta.url))

/** A subject, and the module that brings it. */
export interface FoundSubject extends ReliabilitySubject {
  readonly module: string
}

/** All subjects, in the order of their packages. */
export async function findSubjects(): Promise<FoundSubject[]> {
  const subjects: FoundSubject[] = []
  for (const folder of readdirSync(packages).sort()) {
    const path = join(packages, folder, 'test', 'reliability.ts')
    if (!existsSync(path)) continue
    const module = pathToFileURL(path).href
    const { subject } = (await import(module)) as { subject: ReliabilitySubject }
    subjects.push({ ...subject, module })
  }
  return subjects
}

/** One variant, and whose it is. */
export interface SubjectVariant {
  readonly subject: ReliabilitySubject
  readonly variant: ReliabilityVariant
  readonly name: string
}

/** The variants of all subjects. */
export function variantsOf(subjects: readonly ReliabilitySubject[]): SubjectVariant[] {
  return subjects.flatMap((subject) =>
    subject.variants.map((variant) => ({
      subject,
      variant,
      name: variant.name === subject.format ? subject.format : `${subject.format}, ${variant.name}`,
    })),
  )
}
