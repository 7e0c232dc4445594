import { writeFile } from 'node:fs/promises'
import { Graph } from '@diskgraph/core'
import { memory } from '@diskgraph/driver-memory'
import { nbd } from '@diskgraph/driver-nbd'
import { conformance, findTool, peer, ServerProcess, TempFolder } from '@diskgraph/driver-testkit'
import { listen, NbdServer } from '@diskgraph/nbd'
import { describe, it } from 'vitest'

await conformance({
  test: { describe, it },
  driver: nbd,
  refuses: ['grow', 'shrink'],
  async setUp({ size, blank }) {
    const folder = await TempFolder.make()
    const graph = new Graph({ drivers: [memory] })
    const server = new NbdServer(graph)
    const disk = await graph.add({ driver: 'memory', size, discard: 'unmap' })
    const content = new Uint8Array(size)
    if (!blank) for (let i = 0; i < size; i++) content[i] = (i % 253) + 1
    await disk.write(0, content)
    await server.exports.add(disk, { name: 'disk', writable: true })
    const path = folder.file('socket')
    await listen(server, { path })
    return {
      definition: { driver: 'nbd', server: { type: 'unix', path }, export: 'disk' },
      content,
      async tearDown() {
        await server.close()
        await graph.close()
        await folder.remove()
      },
    }
  },
})

const real = peer('qemu-nbd', { describe, it })

if (findTool('qemu-nbd') === undefined) real.it('is a disk of qemu-nbd', () => {})
else {
  await conformance({
    test: { describe, it },
    driver: nbd,
    refuses: ['grow', 'shrink'],
    async setUp({ size, blank }) {
      const folder = await TempFolder.make()
      const content = new Uint8Array(size)
      if (!blank) for (let i = 0; i < size; i++) content[i] = (i % 253) + 1
      await writeFile(folder.file('image'), content)
      const path = folder.file('socket')
      const args = ['-f', 'raw', '-t', '-e', '10', '--discard=unmap', '-k', path, folder.file('image')]
      const server = await ServerProcess.start('qemu-nbd', args, path)
      return {
        definition: { driver: 'nbd', server: { type: 'unix', path } },
        content,
        async tearDown() {
          await server.end('SIGTERM')
          await folder.remove()
        },
      }
    },
  })
}
