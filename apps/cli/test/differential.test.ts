import { existsSync } from 'node:fs'
import { afterAll, describe, expect, test } from 'vitest'
import { runImg } from '../src/img/main.ts'
import { describeDifference, runGroup } from './differential.ts'
import { groups } from './qemu-img-table.ts'

describe.skipIf(!existsSync('/usr/bin/qemu-img'))('dg-img answers as qemu-img does', () => {
  let total = 0
  let identical = 0
  let deliberate = 0

  for (const group of groups) {
    test(`${group.name}: ${group.lines.length} command lines`, async () => {
      const comparisons = await runGroup(group, 'qemu-img', runImg)
      const different = comparisons.filter(({ identical, deliberate }) => !identical && deliberate === undefined)
      total += comparisons.length
      identical += comparisons.filter((comparison) => comparison.identical).length
      deliberate += comparisons.filter((comparison) => !comparison.identical && comparison.deliberate).length
      expect(different.map((one) => describeDifference('qemu-img', one)).join('\n\n')).toBe('')
    })
  }

  afterAll(() => {
    process.stdout.write(
      `differential: ${total} command lines, ${identical} identical, ${deliberate} different on purpose\n`,
    )
  })
})
