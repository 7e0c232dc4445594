import { writeFileSync } from 'node:fs'
import { peer, ServerProcess, TempFolder } from '@diskgraph/driver-testkit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { negotiations, requests } from './abuse-rows.ts'
import { exchange } from './reply-words.ts'
import { Served } from './served.ts'

const rows = Object.entries({ ...negotiations, ...requests })

describe('a server answers', () => {
  for (const [what, { sent, replies, ours = replies }] of rows) {
    it(what, async () => {
      await using served = await Served.start()
      expect(await exchange(served.path, sent, ours.length)).toEqual(ours)
    })
  }
})

const real = peer('qemu-nbd', { describe, it })

real.describe('qemu-nbd answers in the same way', () => {
  let folder: TempFolder
  let server: ServerProcess

  beforeAll(async () => {
    folder = await TempFolder.make()
    writeFileSync(folder.file('disk'), Buffer.alloc(2 ** 20))
    const words = ['-t', '-f', 'raw', '-k', folder.file('socket'), folder.file('disk')]
    server = await ServerProcess.start('qemu-nbd', words, folder.file('socket'))
  })

  afterAll(async () => {
    await server.end()
    await folder.remove()
  })

  for (const [what, { sent, replies }] of rows) {
    it(what, async () => {
      expect(await exchange(folder.file('socket'), sent, replies.length)).toEqual(replies)
    })
  }
})
