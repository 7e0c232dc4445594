/** All programs in one module, so that they share one script with what they have in common. Each is run when it is needed. */
import { main, orderly } from './main.ts'

/** Each runs in this process. */
export const programs = {
  img: async () => main((await import('./img/main.ts')).runImg, false),
  io: async () => main((await import('./io/main.ts')).runIo, false),
  nbd: async () => main((await import('./nbd/main.ts')).runNbd, false, orderly),
  diskgraph: async () => main((await import('./people/main.ts')).runDiskgraph, true),
} satisfies Record<string, () => Promise<void>>
