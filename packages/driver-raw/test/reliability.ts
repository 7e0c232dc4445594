/** What `npm run reliability` does to raw. */
import { raw } from '@diskgraph/driver-raw'
import type { ReliabilitySubject } from '@diskgraph/driver-testkit'

export const subject: ReliabilitySubject = {
  driver: raw,
  format: 'raw',
  variants: [
    {
      name: 'raw',
      createOptions: {},
      qemuCreateOptions: '',
      cluster: 65536,
      guest: { grow: 0.3 },
      steps: { truncate: 1 },
      size: 2 ** 21,
    },
  ],
  checked: false,
  compareMap: false,
}
