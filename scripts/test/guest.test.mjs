import { expect, it } from 'vitest'
import { findParts } from '../guest/initramfs.ts'

it('names what is missing for a guest, and the package that has it', () => {
  const kernel = expect.stringMatching(/vmlinuz-.*: linux-image/)
  const busybox = expect.stringMatching(/busybox: busybox-static/)
  expect(findParts('/nowhere')).toEqual(expect.arrayContaining([kernel, busybox]))
})
