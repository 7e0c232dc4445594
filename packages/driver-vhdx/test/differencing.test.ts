/** Differencing images that are made and written here, judged by a model, by crashes, and by libvhdi. */
import { Random } from '@diskgraph/driver-testkit'
import { vhdx } from '@diskgraph/driver-vhdx'
import { expect, it } from 'vitest'
import { DifferencingImages, differencingSuite, mib } from '../../driver-vpc/test/differencing-images.ts'

const createOptions = { blockSize: mib }

// Of a block that is zeroes libvhdi shows what is below it; and where an image has no bitmap of sectors, since no block is
// present in part, it takes the first bytes of the file for that of a first block that is missing.
differencingSuite(vhdx, createOptions, mib, { zeroes: 0, fromStart: true })

it('a chain is refused when an image below has been written to since', async () => {
  const images = new DifferencingImages(vhdx, createOptions)
  const { files, models } = await images.chain()
  await images.scribble(files, 'base', Buffer.from(models[0] as Buffer), new Random(1))
  await expect(images.contentOf(files, 'top')).rejects.toThrow('is not the image that this one was made on')
})
