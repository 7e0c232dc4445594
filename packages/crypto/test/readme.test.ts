import { platform, SectorCipher } from '@diskgraph/crypto'
import { mustShowExample } from '@diskgraph/driver-testkit'
import { expect, it } from 'vitest'

it('does what the README shows', () => {
  mustShowExample(import.meta.url)
  const key = platform.randomBytes(64)
  const cipher = new SectorCipher(platform, { algorithm: 'aes-256', mode: 'xts', ivGenerator: 'plain64' }, key)
  const stored = cipher.encrypt(8, new Uint8Array(1024))
  cipher.decrypt(8, stored)
  // stored: 1024 zeroes again, which were sectors 8 and 9
  expect(stored).toEqual(new Uint8Array(1024))
})
