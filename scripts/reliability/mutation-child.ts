/** The child process of the mutation bar: its argument is the module of the subject. */
import { type ReliabilitySubject, serveMutations } from '@diskgraph/driver-testkit'

const { subject } = (await import(process.argv[2] as string)) as { subject: ReliabilitySubject }
const { driver, mutations } = subject
if (mutations === undefined) throw new Error(`nothing of ${subject.format} can be damaged`)
serveMutations({ driver, ...mutations }, mutations.fields)
