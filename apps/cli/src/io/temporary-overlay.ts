/** A temporary overlay: changes go into a file that has no name any more and vanishes with the process. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Disk, Graph, OpenSettings } from '@diskgraph/core'

/** Opens an empty qcow2 overlay on `base`, and lets go of `base`. */
export async function overlayOn(graph: Graph, base: Disk, readOnly: boolean, settings: OpenSettings): Promise<Disk> {
  const folder = mkdtempSync(join(process.env.TMPDIR ?? tmpdir(), 'diskgraph-'))
  const filename = join(folder, 'overlay.qcow2')
  try {
    const file = { driver: 'file', filename }
    await graph.createUnchecked({ driver: 'qcow2', file, size: base.size }, settings)
    const options = { driver: 'qcow2', file, backing: base.nodeName, readOnly, discard: 'unmap' }
    return await graph.addUnchecked(options, settings)
  } finally {
    rmSync(folder, { recursive: true })
    await base.close()
  }
}
