import { copyBeforeWrite } from '@diskgraph/driver-copy-before-write'
import { conformance, type SetUpContext } from '@diskgraph/driver-testkit'
import { describe, it } from 'vitest'

/** A disk with content, unless it is to be blank, below a filter. */
function filtered({ files, size, blank, storage }: SetUpContext) {
  const content = Uint8Array.from({ length: size }, (_, i) => (blank ? 0 : (i % 253) + 1))
  const file = files.put('image')
  file.truncate(size)
  if (!blank) file.write(0, content)
  files.put('old').truncate(size)
  return { filter: { driver: 'copy-before-write', file: storage('image'), target: storage('old') }, content }
}

await conformance({
  test: { describe, it },
  driver: copyBeforeWrite,
  setUp: (context) => {
    const { filter, content } = filtered(context)
    return { definition: filter, content }
  },
})
