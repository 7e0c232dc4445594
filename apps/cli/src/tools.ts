/** All programs in one module, so that they share one file with what they have in common. */
import { runImg } from './img/main.ts'
import { runIo } from './io/main.ts'
import { main, orderly } from './main.ts'
import { runNbd } from './nbd/main.ts'
import { runDiskgraph } from './people/main.ts'

/** Runs `dg-img` in this process. */
export function startImg(): Promise<void> {
  return main(runImg, false)
}

/** Runs `dg-io` in this process. */
export function startIo(): Promise<void> {
  return main(runIo, false)
}

/** Runs `dg-nbd` in this process. */
export function startNbd(): Promise<void> {
  return main(runNbd, false, orderly)
}

/** Runs `diskgraph` in this process. */
export function startDiskgraph(): Promise<void> {
  return main(runDiskgraph, true)
}
