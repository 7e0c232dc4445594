import { Graph, type OpenSettings } from '@diskgraph/core'
import { luks } from '@diskgraph/driver-luks'
import { MemoryFiles } from '@diskgraph/driver-testkit'
import { describe, expect, it } from 'vitest'

const password = 'canary-of-the-secret'
const file = { driver: 'testkit-file', name: 'image' }
const payload = 528384

async function volume(size = 2 ** 20) {
  const files = new MemoryFiles()
  files.put('image')
  const graph = () => new Graph({ drivers: [luks, files.driver], secrets: { key: password, other: 'other' } })
  await using maker = graph()
  const settings = { keySecret: 'key', cipherAlg: 'aes-128', cipherMode: 'cbc', iterTime: 0 }
  await maker.createUnchecked({ driver: 'luks', size, file, ...settings })
  const open = (options: object = { keySecret: 'key' }, how: OpenSettings = {}) =>
    graph().addUnchecked({ driver: 'luks', file, ...options }, how)
  return { files, open }
}

describe('a volume', () => {
  it('is as large as it was made, in whole sectors, and keeps what is written when it grows', async () => {
    const { open, files } = await volume(1000)
    const disk = await open()
    expect(disk.size).toBe(1024)
    const data = new Uint8Array(1024).fill(7)
    await disk.write(0, data)
    await disk.truncate(4096)
    expect([disk.size, files.file('image').size]).toEqual([4096, payload + 4096])
    const buf = new Uint8Array(1024)
    await disk.read(0, buf)
    expect(buf).toEqual(data)
    expect(disk.node.image.zeroInit).toBe(false)
  })

  it('stores nothing in clear', async () => {
    const { open, files } = await volume()
    const disk = await open()
    await disk.write(512, new Uint8Array(1024).fill(0x5a))
    await disk.close()
    const stored = new Uint8Array(files.file('image').size)
    files.file('image').read(0, stored)
    expect(Buffer.from(stored).includes(Buffer.alloc(16, 0x5a))).toBe(false)
    expect(Buffer.from(stored).includes(password)).toBe(false)
  })

  it('opens with its secret only, and is told of without', async () => {
    const { open } = await volume()
    await expect(open({})).rejects.toThrow("Parameter 'key-secret' is required for cipher")
    await expect(open({ keySecret: 'none' })).rejects.toThrow("No secret with id 'none'")
    const seen = await open({}, { inspect: true })
    expect(await seen.info()).toMatchObject({
      encrypted: true,
      specific: { type: 'luks', data: { cipherMode: 'cbc' } },
    })
    await expect(seen.read(0, new Uint8Array(512))).rejects.toMatchObject({ code: 'EACCES' })
  })

  it('of a cipher or a hash that is not known is told of, and is not opened', async () => {
    const { open, files } = await volume()
    const name = (at: number, text: string) => files.file('image').write(at, new TextEncoder().encode(`${text}\0`))
    name(8, 'twofish')
    name(40, 'xts-plain64')
    const seen = await open({}, { inspect: true })
    const told = { cipherAlg: 'twofish-64', cipherMode: 'xts', ivgenAlg: 'plain64', hashAlg: 'sha256' }
    expect(await seen.info()).toMatchObject({ specific: { data: told } })
    await expect(open()).rejects.toMatchObject({
      message: expect.stringContaining("Algorithm 'twofish' with key size 8 bytes not supported"),
      hint: 'of the ciphers only AES is supported',
    })
    name(8, 'aes')
    name(40, 'cbc-plain64')
    name(72, 'whirlpool')
    const other = await open({}, { inspect: true })
    expect(await other.info()).toMatchObject({ specific: { data: { cipherAlg: 'aes-128', hashAlg: 'whirlpool' } } })
    await expect(open()).rejects.toThrow("Hash algorithm 'whirlpool' not supported")
  })

  it('never tells the password', async () => {
    const { open } = await volume()
    const disk = await open()
    const told = JSON.stringify([disk, disk.node, await disk.info(), disk.filename])
    expect(told).toContain('\\"keySecret\\": \\"key\\"'.replace('keySecret', 'key-secret'))
    expect(told).not.toContain(password)
  })

  it('that was cut off before its payload is refused', async () => {
    const { open, files } = await volume()
    files.file('image').truncate(payload - 512)
    await expect(open()).rejects.toMatchObject({ code: 'EIO' })
  })

  it('refuses an amendment without a state, and one whose secret opens nothing', async () => {
    const { open } = await volume()
    const disk = await open()
    await expect(disk.amend({ options: { keyslot: 1 } })).rejects.toThrow("Parameter 'state' is missing")
    await disk.amend({ options: { state: 'active', newSecret: 'key', secret: 'key', iterTime: 0 } })
    await expect(disk.amend({ options: { state: 'active', newSecret: 'key', secret: 'none' } })).rejects.toThrow(
      "No secret with id 'none'",
    )
  })

  it('takes a new password only from who has one that still opens it', async () => {
    const { open } = await volume()
    const disk = await open()
    await disk.amend({ options: { state: 'active', newSecret: 'other', iterTime: 0 } })
    await disk.amend({ options: { state: 'inactive', keyslot: 0 } })
    const add = { state: 'active', newSecret: 'key', iterTime: 0 }
    await expect(disk.amend({ options: add })).rejects.toThrow('Invalid password, cannot unlock any keyslot')
    await disk.amend({ options: { ...add, secret: 'other' } })
  })
})
