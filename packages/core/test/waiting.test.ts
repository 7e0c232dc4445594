/** Work that a section waits for, and that must not wait for the section. */
import { expect, test } from 'vitest'
import { type OpenImage, Passthrough } from '../src/driver.ts'
import { type DriverDescriptor, Graph, type Root } from '../src/index.ts'
import { ram, Storage } from './drivers.ts'

function setUp(drivers: readonly DriverDescriptor[] = []) {
  const storage = new Storage()
  storage.disks.set('a', new Uint8Array(4096))
  const graph = new Graph({ drivers: [ram(storage), ...drivers] })
  return { storage, graph }
}

test('counted work may ask for information and status although a section wants to begin', async () => {
  const { graph } = setUp()
  const disk = await graph.addUnchecked({ driver: 'ram', disk: 'a', nodeName: 'n' })
  let section: Promise<unknown> | undefined
  await disk.whileCounted(async () => {
    section = graph.drained('n', async () => undefined)
    await new Promise((resolve) => setTimeout(resolve, 5))
    await disk.info()
    expect(await disk.status(0, 512)).toMatchObject({ length: 512 })
    await disk.read(0, new Uint8Array(512))
  })
  await section
  await graph.close()
})

test('background work of a driver that is opening does not wait for the section that waits for the opening', async () => {
  let go: () => void = () => undefined
  const slow: DriverDescriptor = {
    name: 'slow',
    kind: 'filter',
    description: 'repairs while it opens',
    options: { file: { type: 'child', role: 'filtered', required: true, description: 'filtered node' } },
    async open({ children, inBackground }) {
      await new Promise<void>((resolve) => {
        go = resolve
      })
      await inBackground(() => children.require('file').read(0, new Uint8Array(512)))
      return new Passthrough(children.require('file'))
    },
  }
  const { graph } = setUp([slow])
  await graph.addNode({ driver: 'ram', disk: 'a', nodeName: 'n' })
  const opening = graph.addUnchecked({ driver: 'slow', file: 'n' })
  await new Promise((resolve) => setTimeout(resolve, 5))
  const order: string[] = []
  const section = graph.drained('n', async () => order.push('section'))
  await new Promise((resolve) => setTimeout(resolve, 5))
  go()
  await opening.then(() => order.push('open'))
  await section
  expect(order.sort()).toEqual(['open', 'section'])
  await graph.close()
})

test('closing a disk lets an image go of the requests that it keeps back', async () => {
  const kept: (() => void)[] = []
  const throttle: DriverDescriptor = {
    name: 'keeper',
    kind: 'filter',
    description: 'keeps reads back until it is told',
    options: { file: { type: 'child', role: 'filtered', required: true, description: 'filtered node' } },
    open: async ({ children }) => {
      const image: OpenImage & { open: boolean } = Object.assign(new Passthrough(children.require('file')), {
        open: false,
        drainBegin() {
          for (const let_ of kept.splice(0)) let_()
        },
      })
      const read = image.read.bind(image)
      image.read = async (...args) => {
        await new Promise<void>((resolve) => kept.push(resolve))
        return read(...args)
      }
      return image
    },
  }
  const { graph } = setUp([throttle])
  const disk: Root & { close(): Promise<void> } = await graph.addUnchecked({
    driver: 'keeper',
    file: { driver: 'ram', disk: 'a' },
  })
  const read = disk.read(0, new Uint8Array(512))
  await disk.close()
  await read
  expect([...graph.nodes]).toEqual([])
})
