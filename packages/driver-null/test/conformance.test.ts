import { nullAio, nullCo } from '@diskgraph/driver-null'
import { conformance } from '@diskgraph/driver-testkit'
import { describe, it } from 'vitest'

for (const driver of [nullCo, nullAio]) {
  await conformance({
    test: { describe, it },
    driver,
    keepsData: false,
    setUp: ({ size }) => ({ definition: { driver: driver.name, size, readZeroes: true } }),
  })
}
