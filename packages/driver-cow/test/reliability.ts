/** What `npm run reliability` does to cow, of which no program of today judges. */
import { cow } from '@diskgraph/driver-cow'
import { numberFields, type ReliabilitySubject } from '@diskgraph/driver-testkit'

const common = { createOptions: {}, qemuCreateOptions: '', cluster: 4096, guest: {}, steps: {}, size: 2 ** 21 }

export const subject: ReliabilitySubject = {
  driver: cow,
  format: 'cow',
  variants: [
    { ...common, name: 'alone' },
    { ...common, name: 'backing file', backing: 'backing' },
  ],
  checked: false,
  unknownToQemu: true,
  mutations: {
    fields: numberFields([
      { name: 'header', from: 0, to: 16, width: 4 },
      { name: 'header', from: 1032, to: 1056, width: 4 },
      { name: 'bitmap', from: 1056, to: 1056 + 64, width: 4 },
    ]),
  },
}
