/** The child process of the mutation bar. */
import { qcow2 } from '@diskgraph/driver-qcow2'
import { qcow2Fields, serveMutations } from '@diskgraph/driver-testkit'

serveMutations({ driver: qcow2 }, qcow2Fields)
