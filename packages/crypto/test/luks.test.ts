import { systemClock } from '@diskgraph/core'
import {
  formatLuks,
  type HeaderStorage,
  type KeyTools,
  luksHeaderSize,
  openLuks,
  platform,
  readLuks1Header,
} from '@diskgraph/crypto'
import { beforeAll, describe, expect, it } from 'vitest'

const text = (value: string): Uint8Array => new TextEncoder().encode(value)

class MemoryHeader implements HeaderStorage {
  readonly bytes: Uint8Array
  /** Offsets of writes, and flushes. */
  readonly log: (number | 'flush')[] = []

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }

  async read(offset: number, buf: Uint8Array): Promise<void> {
    buf.set(this.bytes.subarray(offset, offset + buf.length))
  }

  async write(offset: number, data: Uint8Array): Promise<void> {
    this.log.push(offset)
    this.bytes.set(data, offset)
  }

  async flush(): Promise<void> {
    this.log.push('flush')
  }
}

const settings = { cipherAlg: 'aes-128', cipherMode: 'cbc', iterTime: 0 } as const
let template: Uint8Array

function toolsOn(storage: HeaderStorage): KeyTools {
  return { platform, clock: systemClock, storage }
}

beforeAll(async () => {
  const storage = new MemoryHeader(new Uint8Array(luksHeaderSize(settings)))
  await formatLuks(toolsOn(storage), settings, text('first'))
  template = storage.bytes
})

/** A copy of a volume with the password `first` in slot 0, and what opens it. */
async function volume() {
  const storage = new MemoryHeader(template.slice())
  const tools = toolsOn(storage)
  const open = async (password: string) => openLuks(tools, await readLuks1Header(storage), text(password))
  return { storage, tools, open }
}

describe('key slots', () => {
  it('open with the password that they were made with, and no other', async () => {
    const { open } = await volume()
    await expect(open('first')).resolves.toBeDefined()
    await expect(open('other')).rejects.toMatchObject({
      code: 'EPERM',
      message: 'Invalid password, cannot unlock any keyslot',
    })
  })

  it('keep the key of the data when a password is added and another erased', async () => {
    const { open, tools } = await volume()
    const first = await open('first')
    const stored = first.cipher.encrypt(3, new Uint8Array(512))
    await first.changeKeySlots(tools, { state: 'active', newPassword: text('second'), iterTime: 0, force: false })
    await (await open('second')).changeKeySlots(tools, { state: 'inactive', oldPassword: text('first'), force: false })
    await expect(open('first')).rejects.toThrow('Invalid password')
    expect((await open('second')).cipher.encrypt(3, new Uint8Array(512))).toEqual(stored)
  })

  it('are written and safe before the header tells of them, and overwritten before it forgets them', async () => {
    const { open, tools, storage } = await volume()
    const opened = await open('first')
    const change = { state: 'active', newPassword: text('second'), iterTime: 0, keyslot: 7, force: false } as const
    await opened.changeKeySlots(tools, change)
    const material = opened.header.slots[7]!.materialOffset
    expect(storage.log).toEqual([material, 'flush', 0, 'flush'])
    storage.log.length = 0
    const before = storage.bytes.slice(material, material + 64000)
    await opened.changeKeySlots(tools, { state: 'inactive', keyslot: 7, force: false })
    expect(storage.log).toEqual([material, 'flush', 0, 'flush'])
    expect(storage.bytes.subarray(material, material + 64000)).not.toEqual(before)
  })

  const [second, first] = [text('second'), text('first')]
  it.each([
    [{ state: 'active' }, "'new-secret' is required to activate a keyslot"],
    [{ state: 'active', newPassword: second, oldPassword: first }, "'old-secret' must not be given when activating"],
    [{ state: 'active', newPassword: second, keyslot: 0 }, 'Refusing to overwrite active keyslot 0'],
    [{ state: 'active', newPassword: second, keyslot: 8 }, 'Invalid keyslot 8 specified, must be between 0 and 7'],
    [{ state: 'inactive' }, 'either explicit keyslot index or the password currently contained in them must be given'],
    [{ state: 'inactive', oldPassword: second }, 'No keyslots match given (old) password for erase operation'],
    [{ state: 'inactive', newPassword: second }, "'new-secret' must not be given when erasing keyslots"],
    [{ state: 'inactive', iterTime: 5 }, "'iter-time' must not be given when erasing keyslots"],
    [{ state: 'inactive', keyslot: 3 }, 'Given keyslot 3 is already erased (inactive)'],
    [{ state: 'inactive', keyslot: 0 }, 'Attempt to erase the only active keyslot 0'],
    [{ state: 'inactive', keyslot: 0, oldPassword: second }, "Given (old) password doesn't unlock keyslot 0"],
    [{ state: 'inactive', oldPassword: first }, 'All the active keyslots match the (old) password that was given'],
  ] as const)('refuse a change that cannot be, or loses the key: %j', async (change, message) => {
    const { open, tools, storage } = await volume()
    const opened = await open('first')
    await expect(opened.changeKeySlots(tools, { ...change, force: false })).rejects.toThrow(message)
    expect(storage.log).toEqual([])
  })

  it('lose the key when that is forced', async () => {
    const { open, tools } = await volume()
    await (await open('first')).changeKeySlots(tools, { state: 'inactive', keyslot: 0, force: true })
    await expect(open('first')).rejects.toThrow('Invalid password')
  })

  it('are eight', async () => {
    const { open, tools } = await volume()
    const opened = await open('first')
    const change = { state: 'active', newPassword: second, iterTime: 0, force: false } as const
    for (let slot = 1; slot < 8; slot++) await opened.changeKeySlots(tools, change)
    await expect(opened.changeKeySlots(tools, change)).rejects.toThrow("Can't add a keyslot - all keyslots are in use")
  })
})

describe('a damaged header', () => {
  const word = (value: number): number[] => [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255]
  const slot = 208
  it.each([
    ['magic', 0, [0], 'Volume is not in LUKS format'],
    ['version', 6, [0, 3], 'LUKS version 3 is not supported'],
    ['cipher', 8, [0x66, 0x6f, 0x6f, 0], "Algorithm 'foo' with key size 16 bytes not supported"],
    ['cipher without an end', 8, Array(32).fill(97), 'LUKS header cipher name is not NUL terminated'],
    ['mode', 40, [0x66, 0x6f, 0x6f, 0], "Unexpected cipher mode string format 'foo'"],
    ['mode without an end', 40, Array(32).fill(97), 'LUKS header cipher mode is not NUL terminated'],
    ['hash', 72, [0x66, 0x6f, 0x6f, 0], "Hash algorithm 'foo' not supported"],
    ['payload in the header', 104, word(0), 'LUKS payload is overlapping with the header'],
    ['payload in a slot', 104, word(10), 'Keyslot 0 is overlapping with the encrypted payload'],
    ['key size', 108, word(7), "Algorithm 'aes' with key size 7 bytes not supported"],
    ['huge key', 108, word(0x7fffffff), 'Keyslot 0 is overlapping with the encrypted payload'],
    ['iterations of the key', 164, word(0), 'LUKS key iteration count is zero'],
    ['state of a slot', slot, word(5), 'Keyslot 0 state (active/disable) is corrupted'],
    ['iterations of a slot', slot + 4, word(0), 'Keyslot 0 iteration count is zero'],
    ['material in the header', slot + 40, word(1), 'Keyslot 0 is overlapping with the LUKS header'],
    ['material far away', slot + 40, word(0xffffff), 'Keyslot 0 is overlapping with the encrypted payload'],
    ['stripes', slot + 44, word(7), 'Keyslot 0 is corrupted (stripes 7 != 4000)'],
    ['slots in one place', slot + 48 + 40, word(8), 'Keyslots 0 and 1 are overlapping in the header'],
  ] as const)("is refused with QEMU's words: %s", async (_, offset, values, message) => {
    const bytes = template.slice()
    bytes.set(values, offset)
    await expect(readLuks1Header(new MemoryHeader(bytes))).rejects.toThrow(message)
  })

  it('costs no hours where it asks for them', async () => {
    const { storage, open } = await volume()
    storage.bytes.set(word(0xffffffff), slot + 4)
    const begin = performance.now()
    await expect(open('first')).rejects.toThrow('a key derivation of 4294967295 iterations is refused')
    expect(performance.now() - begin).toBeLessThan(5000)
  })

  it('costs no minutes where all its slots ask for one of the longest', async () => {
    const { storage } = await volume()
    let done = 0
    const counting = {
      ...platform,
      pbkdf2: (...[hash, password, salt, iterations, length]: Parameters<typeof platform.pbkdf2>) => {
        done += iterations
        return platform.pbkdf2(hash, password, salt, 1, length)
      },
    }
    for (let i = 0; i < 8; i++) storage.bytes.set([0, 0xac, 0x71, 0xf3, ...word(2 ** 25)], slot + i * 48)
    const header = await readLuks1Header(storage)
    const opening = openLuks({ ...toolsOn(storage), platform: counting }, header, text('first'))
    await expect(opening).rejects.toThrow('to try all key slots takes more than 100663296 iterations')
    expect(done).toBeLessThanOrEqual(3 * 2 ** 25)
  })
})
