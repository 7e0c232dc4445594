/** What `npm run reliability` does to dmg: images are damaged. */
import { dmg } from '@diskgraph/driver-dmg'
import { type Field, PagedFile, type ReliabilitySubject } from '@diskgraph/driver-testkit'
import { dmgImage, usualPieces } from './image.ts'

const kinds = ['resource fork', 'property list'] as const

/** The numbers of the trailer, and of the fork before it. */
function fields(image: Uint8Array): Field[] {
  const trailer = image.length - 512
  const fork = Number(new DataView(image.buffer, image.byteOffset).getBigUint64(trailer + 40))
  const places = Array.from({ length: 512 / 8 }, (_, i) => trailer + 4 + i * 8)
  if (fork > 0) for (let at = fork; at < trailer; at += 4) places.push(at)
  return places.flatMap((offset) => [4, 8].map((width) => ({ name: 'number', offset, width })))
}

export const subject: ReliabilitySubject = {
  driver: dmg,
  format: 'dmg',
  variants: [],
  checked: false,
  mutations: {
    fields,
    images: async () =>
      kinds.map((kind) => {
        const file = new PagedFile()
        file.write(0, dmgImage(usualPieces(16), kind).bytes)
        return file
      }),
  },
}
