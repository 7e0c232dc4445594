/** The end of a program: one thing that hangs, a target that does not answer, say, keeps nothing else from storage. */
import type { Graph } from '@diskgraph/core'

/** Milliseconds for everything to come to its end. */
export const grace = 5000
/** Milliseconds that one step of the end may keep the next one waiting. */
const patience = 800

/** Waits for `work`, but not for long. */
export async function soon(work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, patience)
  })
  await Promise.race([work, late])
  clearTimeout(timer)
}

/** Closes `graph`, which may wait for what hangs; what can be flushed has been by then. */
export async function closeGraph(graph: Graph): Promise<void> {
  await soon(Promise.allSettled([...graph.nodes].map((node) => node.flush())))
  await graph.close()
}
